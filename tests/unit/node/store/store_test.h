/* What the tests of the store share. */
#ifndef BASTIDE_TESTS_STORE_TEST_H
#define BASTIDE_TESTS_STORE_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/base/prng.h"
#include "node/store/effects.h"
#include "node/store/entry.h"

/* A directory of its own for one test, removed by scratch_remove. */
static inline void scratch_make(char path[64])
{
    strcpy(path, "/tmp/bastide-store-XXXXXX");
    assert_non_null(mkdtemp(path));
}

static inline void scratch_remove(const char *path)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", path);
    assert_int_equal(system(command), 0);
}

/* The same seed every time unless BASTIDE_SEED says otherwise. */
static inline struct prng test_prng(void)
{
    struct prng p;
    const char *seed = getenv("BASTIDE_SEED");
    prng_seed(&p, seed != NULL ? strtoull(seed, NULL, 0) : 1);
    return p;
}

/* An entry that puts (value != NULL) or deletes one key. */
static inline struct entry *one_effect(uint64_t lsn, uint64_t term,
                                       struct bytes key, const char *value)
{
    struct effects_builder b;
    struct effects_head head = {.status = 200};
    struct entry *e;
    assert_int_equal(effects_begin(&b, &head), 0);
    if (value != NULL)
        assert_int_equal(effects_put(&b, key, bytes_str(value)), 0);
    else
        assert_int_equal(effects_delete(&b, key), 0);
    assert_int_equal(effects_finish(&b, lsn, term, 1, &e), 0);
    return e;
}

#endif
