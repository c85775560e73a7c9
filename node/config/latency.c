#include "node/config/latency.h"

#include <stdio.h>
#include <string.h>

#include "node/base/buf.h"
#include "node/base/check.h"

#define MESSAGE_MAX 4096 /* a message is cut to its size anyway */

/* Median (P50) round trips over the Azure backbone in milliseconds, 21 June to
 * 21 July 2023, as Microsoft published them in "Azure network round-trip
 * latency statistics"
 * (learn.microsoft.com/azure/networking/azure-network-latency, that edition). A
 * row is a source, its columns are the regions before it. The way back was
 * published, too, and differs by some milliseconds at most. */
#define REGIONS 20
/* clang-format off */
static const struct {
    const char *name;
    uint16_t ms[REGIONS - 1];
} measured[REGIONS] = {
    {"eastus",             {0}},
    {"eastus2",            {7}},
    {"centralus",          {24, 27}},
    {"westus2",            {64, 64, 38}},
    {"canadacentral",      {18, 22, 23, 63}},
    {"brazilsouth",        {116, 114, 147, 182, 129}},
    {"northeurope",        {67, 71, 94, 130, 83, 170}},
    {"uksouth",            {76, 80, 98, 134, 93, 177, 11}},
    {"westeurope",         {82, 86, 109, 145, 97, 183, 17, 9}},
    {"francecentral",      {82, 85, 104, 142, 98, 183, 17, 8, 11}},
    {"germanywestcentral", {87, 91, 109, 145, 105, 189, 22, 14, 8, 10}},
    {"swedencentral",      {110, 115, 132, 168, 129, 206, 45, 37, 22, 36, 27}},
    {"japaneast",          {156, 151, 134, 98, 154, 275, 231, 217, 219, 212, 217, 240}},
    {"koreacentral",       {184, 184, 158, 123, 179, 301, 228, 220, 222, 215, 220, 243, 31}},
    {"eastasia",           {199, 195, 177, 141, 198, 328, 193, 185, 187, 180, 185, 208, 46, 38}},
    {"southeastasia",      {223, 220, 197, 162, 218, 340, 163, 153, 156, 147, 155, 178, 70, 68, 34}},
    {"australiaeast",      {204, 200, 176, 160, 197, 319, 246, 238, 240, 233, 237, 261, 102, 128, 122, 89}},
    {"centralindia",       {203, 203, 235, 210, 216, 305, 137, 130, 132, 126, 129, 153, 118, 118, 83, 50, 140}},
    {"uaenorth",           {190, 188, 222, 256, 202, 292, 125, 116, 119, 112, 116, 140, 148, 147, 112, 80, 167, 33}},
    {"southafricanorth",   {243, 248, 274, 309, 256, 345, 179, 173, 183, 172, 180, 204, 358, 360, 327, 296, 378, 270, 257}},
};
/* clang-format on */

/* Its row, REGIONS if it has none. */
static size_t row_of(const char *name)
{
    size_t row = 0;
    while (row < REGIONS && strcmp(measured[row].name, name) != 0)
        row++;
    return row;
}

unsigned latency_measured_ms(const char *a, const char *b)
{
    size_t i = row_of(a), j = row_of(b);
    if (i == REGIONS || j == REGIONS || i == j)
        return 0;
    return i > j ? measured[i].ms[j] : measured[j].ms[i];
}

/* Every pair that was measured. */
static int add_world(const char *const *regions, size_t count,
                     struct config_latencies *list, struct err_msg *msg)
{
    for (size_t i = 0; i < count; i++)
        for (size_t j = i + 1; j < count; j++) {
            struct config_latency pair = {
                .rtt_us = latency_measured_ms(regions[i], regions[j]) * 1000};
            snprintf(pair.a, sizeof(pair.a), "%s", regions[i]);
            snprintf(pair.b, sizeof(pair.b), "%s", regions[j]);
            int err = pair.rtt_us > 0 ? config_latencies_add(list, &pair, msg)
                                      : ERR_OK;
            if (err != ERR_OK)
                return err;
        }
    return ERR_OK;
}

static bool is_region(const char *name, const char *const *regions,
                      size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(regions[i], name) == 0)
            return true;
    return false;
}

static int check_names(const struct config_latencies *list,
                       const char *const *regions, size_t count,
                       struct err_msg *msg)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct config_latency *t = &list->list[i];
        if (t->a[0] == '\0')
            continue;
        bool known = is_region(t->a, regions, count);
        if (!known || !is_region(t->b, regions, count))
            return err_set(msg, ERR_INVALID, "there is no region \"%s\"",
                           known ? t->b : t->a);
    }
    return ERR_OK;
}

static bool has_time(const struct config_latencies *list, const char *a,
                     const char *b)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct config_latency *t = &list->list[i];
        if (t->a[0] == '\0' || (strcmp(t->a, a) == 0 && strcmp(t->b, b) == 0) ||
            (strcmp(t->a, b) == 0 && strcmp(t->b, a) == 0))
            return true;
    }
    return false;
}

/* Whether a region that was not measured lacks a time to another one. */
static bool lacks_time(const char *name, const struct config_latencies *list,
                       const char *const *regions, size_t count)
{
    if (row_of(name) != REGIONS)
        return false;
    for (size_t i = 0; i < count; i++)
        if (strcmp(regions[i], name) != 0 && !has_time(list, name, regions[i]))
            return true;
    return false;
}

static void put_name(struct buf *b, const char *name)
{
    CHECK(buf_printf(b, "%s%s", buf_len(b) > 0 ? ", " : "", name) == ERR_OK);
}

static int check_world(const struct config_latencies *list,
                       const char *const *regions, size_t count,
                       struct err_msg *msg)
{
    struct buf lacking, known;
    int err = ERR_OK;
    buf_init(&lacking, MESSAGE_MAX);
    buf_init(&known, MESSAGE_MAX);
    for (size_t i = 0; i < count; i++)
        if (lacks_time(regions[i], list, regions, count))
            put_name(&lacking, regions[i]);
    for (size_t i = 0; i < REGIONS; i++)
        put_name(&known, measured[i].name);
    if (buf_len(&lacking) > 0)
        err = err_set(msg, ERR_INVALID,
                      "world has no round trips for %.*s: add each, as in "
                      "world,a:b=80ms, or begin with one for all, as in "
                      "80ms,world. It knows %.*s",
                      (int)buf_len(&lacking), (const char *)buf_bytes(&lacking),
                      (int)buf_len(&known), (const char *)buf_bytes(&known));
    buf_free(&lacking);
    buf_free(&known);
    return err;
}

static int add_parts(const struct config_latencies *from,
                     const char *const *regions, size_t count,
                     struct config_latencies *list, bool *world_out,
                     struct err_msg *msg)
{
    int err = ERR_OK;
    for (size_t i = 0; i < from->count && err == ERR_OK; i++) {
        const struct config_latency *part = &from->list[i];
        *world_out = *world_out || part->world;
        err = part->world ? add_world(regions, count, list, msg)
                          : config_latencies_add(list, part, msg);
    }
    return err;
}

int latency_expand(struct config_latencies *list, const char *const *regions,
                   size_t count, struct err_msg *msg)
{
    struct config_latencies whole = {.count = 0};
    bool world = false;
    int err = add_parts(list, regions, count, &whole, &world, msg);
    if (err == ERR_OK)
        err = check_names(&whole, regions, count, msg);
    if (err == ERR_OK && world)
        err = check_world(&whole, regions, count, msg);
    if (err != ERR_OK) {
        config_latencies_free(&whole);
        return err;
    }
    config_latencies_free(list);
    *list = whole;
    return ERR_OK;
}
