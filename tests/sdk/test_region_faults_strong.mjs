// The failure matrix at level strong: see region_faults.mjs.
//
// test-heavy
import { testRegionFaults } from "./region_faults.mjs";

testRegionFaults("strong");
