#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "tests/sim/main.h"
#include "tests/sim/plant.h"

int sim_planted_raft, sim_planted_shard, sim_planted_failover,
    sim_planted_govern;

/* Made from the headers by sim.mk: {"RAFT_VOTE_ANY_LOG", &..., number}, so that
 * none is forgotten. */
static const struct {
    const char *name;
    int *planted;
    int number;
} plants[] = {
#include "tests/sim/plants.inc"
};

bool sim_plant(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(plants); i++) {
        if (strcmp(plants[i].name, name) == 0) {
            *plants[i].planted = plants[i].number;
            return true;
        }
    }
    return false;
}

void sim_print_plants(void)
{
    for (size_t i = 0; i < ARRAY_LEN(plants); i++)
        printf("%s\n", plants[i].name);
}
