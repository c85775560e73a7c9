/* The scenarios of deploy/scenarios, in the program itself (made by the
 * Makefile). */
#ifndef BASTIDE_CLI_SHIPPED_H
#define BASTIDE_CLI_SHIPPED_H

struct shipped_scenario {
    const char *name; /* of the file, without .yaml */
    const char *text;
};

/* By name; ends with a NULL name. */
extern const struct shipped_scenario shipped_scenarios[];

#endif
