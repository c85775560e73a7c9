#include "node/server/own_region.h"

#include <string.h>

int own_region_key(const struct config *config, const struct kek *kek,
                   const char *cluster_id, struct err_msg *msg,
                   struct region_key *key_out)
{
    struct region_key key = {.region = ""};
    int err = ERR_OK;
    if (config_has_region_keys(config))
        err = region_key_read(config->keys.region, kek, cluster_id,
                              config->region, msg, &key);
    if (err == ERR_OK && config_has_region_keys(config) &&
        memcmp(key.public_key, config->own_region->key.public_key,
               REGION_KEY_LEN) != 0)
        err = err_set(msg, ERR_IDENTITY,
                      "%.300s: not the key that the configuration says for "
                      "region %s: one of the two is of another cluster or of "
                      "another time",
                      config->keys.region, config->region);
    if (err == ERR_OK)
        *key_out = key;
    region_key_wipe(&key);
    return err;
}
