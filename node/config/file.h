/* The YAML file of a node's configuration (private to node/config). */
#ifndef BASTIDE_CONFIG_FILE_H
#define BASTIDE_CONFIG_FILE_H

#include "node/config/config.h"
#include "node/config/settings.h"

/* Reads the file into `c`: scalar settings, marked in `given`, and the regions
 * list. Messages name file and line. Errors as config_load. */
int config_file_read(const char *path, struct config *c,
                     bool given[SETTINGS_MAX], struct err_msg *msg);

#endif
