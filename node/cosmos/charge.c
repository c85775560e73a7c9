#include "node/cosmos/charge.h"

#define CHARGE_READ_KIB 1.0
#define CHARGE_CREATE_KIB 5.71
#define CHARGE_REPLACE_FACTOR 1.5
#define CHARGE_QUERY 2.27
#define CHARGE_FEED 1.0
#define CHARGE_EXAMINED 0.02
#define CHARGE_SENT_KIB 0.1

static double kib(size_t bytes)
{
    return bytes <= 1024 ? 1.0 : (double)((bytes + 1023) / 1024);
}

double charge_read(size_t bytes)
{
    return CHARGE_READ_KIB * kib(bytes);
}

double charge_create(size_t bytes)
{
    return CHARGE_CREATE_KIB * kib(bytes);
}

double charge_replace(size_t bytes)
{
    return CHARGE_CREATE_KIB * CHARGE_REPLACE_FACTOR * kib(bytes);
}

double charge_delete(void)
{
    return CHARGE_CREATE_KIB;
}

double charge_page(uint64_t examined, size_t bytes, bool query)
{
    return (query ? CHARGE_QUERY : CHARGE_FEED) +
           CHARGE_EXAMINED * (double)examined + CHARGE_SENT_KIB * kib(bytes);
}
