// The failure matrix at level session: see region_faults.mjs.
//
// test-heavy
import { testRegionFaults } from "./region_faults.mjs";

testRegionFaults("session");
