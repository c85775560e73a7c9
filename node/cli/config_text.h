/* Lines put into a node.yaml that init wrote and people have changed since: all
 * other lines stay as they are. The new text is tried in a file beside the old
 * one first, so that no node ever finds a broken one; a form that init does not
 * write is left to its owner. */
#ifndef BASTIDE_CLI_CONFIG_TEXT_H
#define BASTIDE_CLI_CONFIG_TEXT_H

#include "node/base/buf.h"
#include "node/cli/layout.h"

struct config_text_change {
    /* Appends the text with the new lines to `out`. ERR_LIMIT: no room. */
    int (*edit)(void *user, const char *text, struct buf *out);
    /* Whether a file says what the new text should say: ERR_OK; anything else:
     * the form was not understood. */
    int (*check)(void *user, const char *path);
    /* Says what to do by hand in the file of that path, and returns
     * ERR_INVALID. */
    int (*refuse)(void *user, const char *path, struct err_msg *msg);
    void *user;
};

/* Changes "<dir>/<node>/node.yaml". Errors of `refuse` and of files; the file
 * is as it was then. */
int config_text_change(const char *dir, const char *node,
                       const struct config_text_change *change,
                       struct err_msg *msg);

/* The region whose entry begins with this line, as init writes it ("  - name:
 * X"); NULL for other lines and other regions. */
const struct layout_region *config_text_region(const struct layout *l,
                                               const char *line, size_t len);

#endif
