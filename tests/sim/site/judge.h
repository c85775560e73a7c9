/* The checkers of consistency: each looks at a finished history (history.h) and
 * says the first thing that is not as the levels promise. They are functions of
 * the history alone; tests/sim/selftest gives them good and bad ones by hand.
 *
 *   survival       an acknowledged write is in the committed branch; at a
 *                  weaker level than strong a forced switch may have lost it.
 *                  One that was refused is not
 *   conflicts      what a forced switch lost is in the conflict feed, unless
 *                  nobody but nodes that left ever had it; and the feed holds
 *                  nothing else: only what was logged, did not survive, and
 *                  each once
 *   prefix         an answer is the state at the place that it names, and that
 *                  place was not lost except by a forced switch
 *   sessions       at level session a client reads its own writes, reads never
 *                  go back, and its writes are in the order it made them
 *   staleness      a bounded read lacks at most K entries, and none that was
 *                  acknowledged T before it was asked for, on the true clock
 *   one_region     in an epoch, what no majority of all has yet is
 *                  acknowledged on one region's word
 *   observed       the checkers that a real cluster's clients are judged by
 *                  (node/history/observed.h) find nothing, either
 *
 * Answers: true if all is well; else false, with the reason. */
#ifndef BASTIDE_SIM_SITE_JUDGE_H
#define BASTIDE_SIM_SITE_JUDGE_H

#include "tests/sim/site/history.h"

bool judge_survival(const struct history *h, char why[VERDICT_TEXT_MAX]);
bool judge_conflicts(const struct history *h, char why[VERDICT_TEXT_MAX]);
bool judge_prefix(const struct history *h, char why[VERDICT_TEXT_MAX]);
bool judge_sessions(const struct history *h, char why[VERDICT_TEXT_MAX]);
bool judge_staleness(const struct history *h, char why[VERDICT_TEXT_MAX]);
bool judge_one_region(const struct history *h, char why[VERDICT_TEXT_MAX]);
bool judge_observed(const struct history *h, char why[VERDICT_TEXT_MAX]);
/* All of them. */
bool judge_history(const struct history *h, char why[VERDICT_TEXT_MAX]);

#endif
