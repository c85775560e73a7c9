// The failure matrix at level bounded-staleness: see region_faults.mjs.
//
// test-heavy
import { testRegionFaults } from "./region_faults.mjs";

testRegionFaults("bounded-staleness");
