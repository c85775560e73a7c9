// The failure matrix at level session: see region_faults.mjs.
import { testRegionFaults } from "./region_faults.mjs";

testRegionFaults("session");
