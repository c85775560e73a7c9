/* Request units: what x-ms-request-charge says. A simple model with the shape
 * of the service's (docs/request-charges.md): nothing is throttled by it.
 *
 * A started KiB counts as one. Pure. */
#ifndef BASTIDE_COSMOS_CHARGE_H
#define BASTIDE_COSMOS_CHARGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Reading one resource of this size: 1 for each KiB. */
double charge_read(size_t bytes);
/* Creating one: 5.71 for each KiB. */
double charge_create(size_t bytes);
/* Writing over one: half as much again. */
double charge_replace(size_t bytes);
/* Deleting one, whatever its size: as creating one of 1 KiB. */
double charge_delete(void);
/* One page: what was looked at and what was sent. A query costs at least 2.27,
 * a page of a feed at least 1. */
double charge_page(uint64_t examined, size_t bytes, bool query);

#endif
