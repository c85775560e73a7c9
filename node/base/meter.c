#include "node/base/meter.h"

const usec_t meter_bounds_us[METER_BOUNDS] = {
    100,   250,    500,    1000,   2500,    5000,    10000,   25000,
    50000, 100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000};

void meter_record(struct meter *m, usec_t us)
{
    unsigned i = 0;
    if (us < 0)
        us = 0;
    while (i < METER_BOUNDS && us > meter_bounds_us[i])
        i++;
    m->buckets[i]++;
    m->sum_us += (uint64_t)us;
}

void meter_add(struct meter *m, const struct meter *from)
{
    m->sum_us += from->sum_us;
    for (unsigned i = 0; i <= METER_BOUNDS; i++)
        m->buckets[i] += from->buckets[i];
}

uint64_t meter_count(const struct meter *m)
{
    uint64_t count = 0;
    for (unsigned i = 0; i <= METER_BOUNDS; i++)
        count += m->buckets[i];
    return count;
}
