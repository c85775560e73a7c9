#include "node/cli/config_text.h"

#include <string.h>
#include <unistd.h>

#include "node/base/file.h"

/* A node.yaml before it takes the old one's place. */
#define CANDIDATE_NAME "node.yaml.try"

const struct layout_region *config_text_region(const struct layout *l,
                                               const char *line, size_t len)
{
    static const char head[] = "  - name: ";
    size_t head_len = sizeof(head) - 1;
    if (len <= head_len || memcmp(line, head, head_len) != 0)
        return NULL;
    for (unsigned i = 0; i < l->region_count; i++)
        if (strlen(l->regions[i].name) == len - head_len &&
            memcmp(l->regions[i].name, line + head_len, len - head_len) == 0)
            return &l->regions[i];
    return NULL;
}

static int try_text(const struct config_text_change *c, const char *path,
                    const char *candidate, struct bytes text,
                    struct err_msg *msg)
{
    int err = file_replace(candidate, 0644, text, msg);
    if (err != ERR_OK)
        return err;
    err = c->check(c->user, candidate);
    unlink(candidate);
    return err == ERR_OK ? ERR_OK : c->refuse(c->user, path, msg);
}

int config_text_change(const char *dir, const char *node,
                       const struct config_text_change *c, struct err_msg *msg)
{
    char path[PATH_MAX], candidate[PATH_MAX];
    struct buf old, new;
    buf_init(&old, CONFIG_FILE_MAX);
    buf_init(&new, CONFIG_FILE_MAX);
    int err = layout_path(dir, node, "node.yaml", path, msg);
    if (err == ERR_OK)
        err = layout_path(dir, node, CANDIDATE_NAME, candidate, msg);
    if (err == ERR_OK)
        err = file_read(path, false, &old, msg);
    if (err == ERR_OK && c->edit(c->user, buf_cstr(&old), &new) != ERR_OK)
        err = err_set(msg, ERR_LIMIT, "%.300s: too long for more lines", path);
    struct bytes text = bytes_of(buf_bytes(&new), buf_len(&new));
    if (err == ERR_OK)
        err = try_text(c, path, candidate, text, msg);
    if (err == ERR_OK)
        err = file_replace(path, 0644, text, msg);
    buf_free(&old);
    buf_free(&new);
    return err;
}
