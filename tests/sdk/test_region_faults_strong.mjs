// The failure matrix at level strong: see region_faults.mjs.
import { testRegionFaults } from "./region_faults.mjs";

testRegionFaults("strong");
