/* Whether a history of operations on one document is linearizable: whether each
 * operation can be given a moment between its call and its answer such that a
 * simple document, doing them one at a time, would have given those answers.
 *
 * After Wing and Gong, with the memory of visited states that Lowe added:
 * Testing for linearizability (2017).
 *
 * A version is named by the number of the write that made it; 0 is none.
 *
 * The search is exponential where many writes stay unanswered; what it may
 * remember is bounded, and a history that needs more stays undecided. */
#ifndef BASTIDE_HISTORY_LINEAR_H
#define BASTIDE_HISTORY_LINEAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LINEAR_NEVER UINT64_MAX
/* As a version: the first document that `ops` tell of may be any. */
#define LINEAR_ANY UINT64_MAX
/* States remembered: 32 MiB. */
#define LINEAR_SEEN_MAX ((size_t)1 << 21)

enum linear_verdict { LINEAR_GOOD, LINEAR_BAD, LINEAR_UNDECIDED };

enum linear_kind {
    LINEAR_READ,
    LINEAR_CREATE,
    LINEAR_UPSERT,
    LINEAR_REPLACE,
    LINEAR_DELETE,
};

struct linear_op {
    enum linear_kind kind;
    uint64_t version; /* READ: seen; others but DELETE: made */
    bool conditional; /* REPLACE, DELETE: only of version `expected` */
    uint64_t expected;
    uint64_t called;
    uint64_t answered; /* LINEAR_NEVER: unknown whether it took effect */
    int result;        /* ERR_OK, ERR_EXISTS, ERR_NOT_FOUND, ERR_PRECONDITION */
    bool created;      /* UPSERT */
};

/* `ops` by ascending `called`. At first the document is version `initial`: 0 if
 * it is missing, LINEAR_ANY if nobody knows. */
enum linear_verdict linear_check(const struct linear_op *ops, size_t n,
                                 uint64_t initial);

#endif
