/* The account document: GET /. */
#ifndef BASTIDE_COSMOS_ACCOUNT_H
#define BASTIDE_COSMOS_ACCOUNT_H

#include "node/base/buf.h"
#include "node/base/err.h"
#include "node/cosmos/cosmos.h"

/* Longest account document. */
#define ACCOUNT_JSON_MAX (64u * 1024)

/* ERR_INVALID with a message, see cosmos_set_account. */
int account_check(const struct cosmos_account *account, struct err_msg *msg);
/* Appends the document of a checked account. Errors of buf. */
int account_format(const struct cosmos_account *account, struct buf *out);
/* The same for one client: with the addresses by which it finds the regions if
 * it has sent `host` (advertise.h). */
int account_format_for(const struct cosmos_account *account, struct bytes host,
                       struct buf *out);

/* A copy of a checked account that borrows nothing; `reason` is NULL in it.
 * mem_free frees it. */
struct cosmos_account *account_copy(const struct cosmos_account *account);

#endif
