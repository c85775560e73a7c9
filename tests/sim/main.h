/* The planted bugs of a build that has them, see plant.h; else there are none.
 */
#ifndef BASTIDE_SIM_MAIN_H
#define BASTIDE_SIM_MAIN_H

#include <stdbool.h>

/* False: no such. */
bool sim_plant(const char *name);
void sim_print_plants(void);

#endif
