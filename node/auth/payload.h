/* Private to node/auth: the signed text, and the token in the header. Pure. */
#ifndef BASTIDE_AUTH_PAYLOAD_H
#define BASTIDE_AUTH_PAYLOAD_H

#include "node/auth/signature.h"

/* Writes the text that is signed and returns its length. CHECKs that method,
 * type and dates are at most AUTH_WORD_MAX long, the link AUTH_LINK_MAX. The
 * date line stays empty when x-ms-date is there. */
size_t auth_payload(struct bytes method, struct bytes type, struct bytes link,
                    struct bytes ms_date, struct bytes date,
                    char out[AUTH_PAYLOAD_MAX]);

#define AUTH_SIGNATURE_LEN 32

/* Takes the signature out of an authorization header, percent-encoded or not.
 * AUTH_OK, AUTH_MISSING, AUTH_MALFORMED or AUTH_UNSUPPORTED. */
enum auth_result auth_token_parse(struct bytes header,
                                  uint8_t signature_out[AUTH_SIGNATURE_LEN]);

#endif
