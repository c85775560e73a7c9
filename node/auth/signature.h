/* Request signing with the account's master keys: verifying what a client
 * sent, and signing as a client (bench, status).
 *
 * The scheme is the one of the Cosmos REST protocol, "Access control on
 * resources": HMAC-SHA256 under a 64-byte key over
 *
 *     lower(verb) \n lower(type) \n link \n lower(x-ms-date) \n lower(date) \n
 *
 * where one of the two dates is empty, sent percent-encoded in the header
 * `authorization: type=master&ver=1.0&sig=<base64>`. What type and link a
 * request has follows from its path alone: auth_target_parse.
 *
 * Pure: no clock, no file, no allocation after auth_keys_add. A verification
 * always computes the signature under every key and compares all of each, so
 * that its duration says neither which key matched nor how much of it.
 */
#ifndef BASTIDE_AUTH_SIGNATURE_H
#define BASTIDE_AUTH_SIGNATURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/bytes.h"
#include "node/base/err.h"

#define AUTH_KEY_LEN 64
/* Four account keys and, if it was allowed, the emulator's. */
#define AUTH_KEYS_MAX 5
/* How far a request's date may be from the server's clock, either way. */
#define AUTH_SKEW_MAX_S (15 * 60)
/* Longest decoded resource link: three names of 255 characters of up to four
 * bytes, or two and an item id of 1,023 bytes, with their fixed parts. */
#define AUTH_LINK_MAX 4096
/* Longest method, type and date that are worth verifying. */
#define AUTH_WORD_MAX 64
#define AUTH_PAYLOAD_MAX (AUTH_LINK_MAX + 4 * AUTH_WORD_MAX + 8)

/* -- keys ---------------------------------------------------------------- */

enum auth_rights {
    AUTH_READ_ONLY, /* GET, feeds, queries */
    AUTH_READ_WRITE
};

/* A key ready for use: SHA-256 states after the inner and the outer pad of
 * HMAC (RFC 2104), so that a message costs no key set-up. Contents private. */
struct auth_key {
    uint32_t inner[8];
    uint32_t outer[8];
    enum auth_rights rights;
};

/* The keys of one account. Contents private; holds key material, so free it
 * with auth_keys_wipe. Belongs to one worker or is constant after set-up. */
struct auth_keys {
    struct auth_key keys[AUTH_KEYS_MAX];
    uint8_t count;
};

void auth_keys_init(struct auth_keys *keys);
/* Adds a key; `key` is read, not kept.
 * ERR_INVALID    not AUTH_KEY_LEN bytes
 * ERR_FORBIDDEN  it is the vendor emulator's published key, which protects
 *                nothing (auth_keys_add_emulator is the explicit way)
 * ERR_EXISTS     the same key is there already: two names for one key would
 *                make rotation, or the read-only keys, an illusion
 * ERR_FULL       AUTH_KEYS_MAX are there
 * The message (may be NULL) says so without any byte of the key. */
int auth_keys_add(struct auth_keys *keys, struct bytes key,
                  enum auth_rights rights, struct err_msg *msg);
/* Accepts the vendor emulator's published key with full rights. The caller
 * has checked that the user asked for it and that the listener is loopback
 * only. ERR_FULL. */
int auth_keys_add_emulator(struct auth_keys *keys);
void auth_keys_wipe(struct auth_keys *keys);

/* The vendor emulator's published key as base64 text (public knowledge). */
extern const char auth_emulator_key_text[];

/* -- what a request is about --------------------------------------------- */

/* The resource type and link that a client signs for a path. Link and RID
 * point into `text`: do not copy the struct. */
struct auth_target {
    struct bytes type;     /* "docs"; empty for the account */
    struct bytes alt_type; /* a second type some clients sign; empty if none */
    struct bytes link;     /* "dbs/d/colls/c", percent-decoded, case kept */
    struct bytes rid_link; /* lower-case RID some clients sign instead of
                            * `link`; empty when the path is not by RIDs */
    char text[AUTH_LINK_MAX + 2 * AUTH_WORD_MAX];
};

/* Works out the target of a raw request path ("/dbs/d/colls/c/docs/a%20b"):
 * splits at '/', then percent-decodes each segment once ('?' is data, not a
 * separator). Leading and trailing slashes do not count. A path of
 * an odd number of segments is a feed (signed with its parent's link), an even
 * number addresses a resource; offers are signed by their bare RID;
 * operations/partitionkeydelete is signed as its container, and a conflict's
 * path may end in another "/conflicts", which is signed as a user.
 * ERR_MALFORMED for a bad percent escape or an empty segment in the middle,
 * ERR_LIMIT when longer than AUTH_LINK_MAX. */
int auth_target_parse(struct bytes path, struct auth_target *target_out);

/* -- verifying ----------------------------------------------------------- */

enum auth_result {
    AUTH_OK,
    AUTH_MISSING,       /* no authorization header: 401 */
    AUTH_MALFORMED,     /* header is not type=..&ver=..&sig=..: 401 */
    AUTH_NO_DATE,       /* neither x-ms-date nor date: 401 */
    AUTH_BAD_DATE,      /* signed, but the date is none: 403 */
    AUTH_BAD_SIGNATURE, /* no key gives this signature: 401; see payload */
    AUTH_DATE_SKEW,     /* signed, too old or too far ahead: 403; see token_* */
    AUTH_KEY_READ_ONLY, /* signed by a read-only key, request needs more: 403 */
    AUTH_UNSUPPORTED    /* resource, aad or sas token: 401 */
};

struct auth_request {
    struct bytes method;              /* as in the request line, any case */
    const struct auth_target *target; /* from auth_target_parse */
    struct bytes authorization;       /* header values as received; */
    struct bytes ms_date;             /* .data == NULL: header is absent */
    struct bytes date;
    bool needs_write; /* more than a read-only key grants: every write, script
                       * execution, reading permissions */
};

/* Everything the error body needs. The payload is filled for
 * AUTH_BAD_SIGNATURE only. */
struct auth_verdict {
    enum auth_result result;
    enum auth_rights rights; /* AUTH_OK: of the key */
    uint8_t key;             /* AUTH_OK: which, counted from 0 as added */
    int64_t token_start_s;   /* AUTH_DATE_SKEW: first and last wall second at */
    int64_t token_expiry_s;  /* which this request would have been accepted */
    size_t payload_len;
    char payload[AUTH_PAYLOAD_MAX]; /* the text the server signed */
};

/* `now_s` is the current wall clock in seconds. The signature is checked before
 * the date and the rights, so that nothing is learned without a key. */
void auth_verify(const struct auth_keys *keys, const struct auth_request *req,
                 int64_t now_s, struct auth_verdict *verdict_out);

/* Writes the message of the error body for a verdict other than AUTH_OK, as
 * the service words it (plain text, not JSON-escaped, without the trailing
 * activity id). ERR_LIMIT, ERR_NO_MEMORY of the buffer. */
int auth_message(const struct auth_verdict *verdict, int64_t now_s,
                 struct buf *out);

/* -- signing as a client ------------------------------------------------- */

/* Percent-encoded header value with its NUL: "type%3Dmaster..." */
#define AUTH_HEADER_MAX 192

/* Prepares a single key for auth_sign; any rights. ERR_INVALID: wrong length.
 * Wipe it with mem_wipe. */
int auth_key_init(struct auth_key *key, struct bytes raw,
                  enum auth_rights rights);
/* Makes the value of the authorization header for a request that carries
 * `x-ms-date: <date>`. `link` is percent-decoded, without slashes at its ends
 * (auth_target_parse yields type and link from a path).
 * ERR_LIMIT when an argument is longer than the maxima above. */
int auth_sign(const struct auth_key *key, struct bytes method,
              struct bytes type, struct bytes link, struct bytes date,
              char header_out[AUTH_HEADER_MAX]);

#endif
