/* Signatures of nodes under statements that others check later, without the
 * cluster: what a node says it holds, for an auditor to keep.
 *
 * A node signs with the private key of its TLS certificate, and the
 * certificate goes with the statement. What is signed is
 *
 *     "bastide statement 1" NUL SHA-256(statement)
 *
 * so that no signature made for a TLS handshake passes for one of these, nor
 * the other way round. ECDSA and RSA (PKCS#1 v1.5) over SHA-256, Ed25519 and
 * Ed448 as they are: whatever key the certificate has.
 *
 * A statement says itself when it was made, and is checked as of that time, so
 * that one can be checked after its certificate has expired. Who has an expired
 * key can therefore still make statements of the past: the time is a claim of
 * the signer like the rest.
 */
#ifndef BASTIDE_CRYPT_SIGN_H
#define BASTIDE_CRYPT_SIGN_H

#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/bytes.h"
#include "node/base/err.h"
#include "node/crypt/cert.h"

#define SIGN_SIGNATURE_MAX 1024 /* bytes; RSA of 8192 bits */
#define SIGN_PEM_MAX (64 * 1024)

/* A node's key and certificate, opened. Any thread may use it. */
struct node_signer;

/* Reads both files. The caller owns the result: node_signer_close.
 * ERR_NOT_FOUND, ERR_FORBIDDEN, ERR_IO, ERR_LIMIT (a file beyond SIGN_PEM_MAX);
 * ERR_INVALID: no certificate or no private key in it, or one with a
 * passphrase; ERR_IDENTITY: the key does not belong to the certificate. */
int node_signer_open(const char *cert_path, const char *key_path,
                     struct err_msg *msg, struct node_signer **signer_out);
/* Reads the same files again, after they were renewed. Errors as above, and the
 * signer goes on with what it had. */
int node_signer_reread(struct node_signer *signer, struct err_msg *msg);
/* Wipes and frees. NULL is allowed. */
void node_signer_close(struct node_signer *signer);

/* Appends the signature (at most SIGN_SIGNATURE_MAX bytes) and the certificate
 * file's text, PEM: the certificate and the intermediates that came with it.
 * ERR_LIMIT when a buffer may not hold it; then neither is of use. */
int node_sign(struct node_signer *signer, struct bytes statement,
              struct buf *signature_out, struct buf *cert_pem_out);

/* The SHA-256 of the first certificate in `pem`, as `openssl x509 -fingerprint
 * -sha256` gives it, but in lower case and without colons. ERR_INVALID: there
 * is none. */
#define SIGN_FINGERPRINT_LEN 64
int cert_fingerprint(struct bytes pem, char out[SIGN_FINGERPRINT_LEN + 1]);

/* Checks the signature of a statement made at `at_sec`, seconds since 1970:
 * that the first certificate in `cert_pem` leads to a CA in `ca_pem`, that both
 * were valid at that time, that it is for clients of the cluster's links (as
 * every node's is) and has exactly one identity, and that its key signed the
 * statement. `uri_out`, CERT_URI_MAX + 1 bytes, gets the identity.
 *
 * The caller compares the identity with who the statement says it is from
 * (replication/peer.h: peer_uri_parse, peer_uri_check): an administrator's
 * certificate is a good one, too.
 *
 * ERR_INVALID: no certificate in `ca_pem` or `cert_pem`; ERR_AUTH: not by this
 * CA, not valid at that time, not for that, or another signature or statement;
 * ERR_IDENTITY: no identity in the certificate, or several. `msg` says which.
 */
int node_verify(struct bytes ca_pem, struct bytes cert_pem, int64_t at_sec,
                struct bytes statement, struct bytes signature, char *uri_out,
                struct err_msg *msg);

#endif
