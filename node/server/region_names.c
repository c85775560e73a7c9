#include "node/server/region_names.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/mem.h"
#include "node/json/json.h"
#include "node/server/account_edit.h"
#include "node/server/control_reply.h"
#include "node/server/placement_parse.h"
#include "node/server/worker.h"

#define NAMES_TIMEOUT_US (5 * USEC_PER_SEC)

const char *region_display_name(const struct catalog *c, const char *region)
{
    const struct catalog_account *a = catalog_account(c);
    for (size_t i = 0; a != NULL && i < a->shown_count; i++)
        if (strcmp(a->shown[i].region, region) == 0)
            return a->shown[i].name;
    return region;
}

/* One request to rename. */
struct renaming {
    struct worker *worker;
    struct http_request *request;
    char region[CATALOG_NAME_MAX + 1];
    char name[CATALOG_NAME_MAX + 1];
};

/* ---- what is a name ---------------------------------------------------------
 */

/* Whether clients take both for the same. */
static bool same_to_clients(const char *a, const char *b)
{
    for (;;) {
        while (*a == ' ')
            a++;
        while (*b == ' ')
            b++;
        if (tolower((unsigned char)*a) != tolower((unsigned char)*b))
            return false;
        if (*a == '\0')
            return true;
        a++;
        b++;
    }
}

/* What goes into configuration files and headers of clients as it is. */
static bool is_legal(const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)name[i]) &&
            strchr(" -_.()", name[i]) == NULL)
            return false;
    return len > 0 && name[0] != ' ' && name[len - 1] != ' ';
}

/* Neither another region's own name, also of one that is not part of the
 * cluster now, nor what it is shown as. */
static bool is_taken(const struct renaming *n, const struct catalog_account *a)
{
    const struct config *c = n->worker->node->config;
    bool taken = false;
    for (size_t i = 0; i < c->region_count; i++)
        taken |= strcmp(c->regions[i].name, n->region) != 0 &&
                 same_to_clients(c->regions[i].name, n->name);
    for (size_t i = 0; i < a->shown_count; i++)
        taken |= strcmp(a->shown[i].region, n->region) != 0 &&
                 same_to_clients(a->shown[i].name, n->name);
    return taken;
}

/* ---- the record -------------------------------------------------------------
 */

static int change(void *user, struct catalog_account *a,
                  const struct etag *etag, struct err_msg *msg)
{
    const struct renaming *n = user;
    size_t i = 0;
    (void)etag;
    if (is_taken(n, a))
        return err_set(msg, ERR_INVALID,
                       "clients could not tell that name from another "
                       "region's: they ignore case and spaces");
    while (i < a->shown_count && strcmp(a->shown[i].region, n->region) != 0)
        i++;
    if (strcmp(n->name, n->region) == 0) {
        if (i < a->shown_count)
            a->shown[i] = a->shown[--a->shown_count];
        return ERR_OK;
    }
    if (i == GROUP_REGIONS_MAX)
        return err_set(msg, ERR_INVALID, "%d regions have such names already",
                       GROUP_REGIONS_MAX);
    if (i == a->shown_count)
        a->shown_count++;
    strcpy(a->shown[i].region, n->region);
    strcpy(a->shown[i].name, n->name);
    return ERR_OK;
}

static void describe(const struct catalog_account *a, char *out, size_t size)
{
    struct buf text = buf_over(out, size - 1);
    for (size_t i = 0; i < a->shown_count; i++)
        if (buf_printf(&text, "%s%s is shown as %s", i > 0 ? "; " : "",
                       a->shown[i].region, a->shown[i].name) != ERR_OK)
            break;
    out[buf_len(&text)] = '\0';
}

static void changed(void *user, int err, const struct catalog_account *a,
                    const struct etag *etag, const struct err_msg *msg)
{
    struct renaming *n = user;
    struct buf body;
    struct json_writer w;
    (void)a;
    (void)etag;
    if (err != ERR_OK) {
        control_refuse_err(n->request, err, msg->text);
        mem_free(n);
        return;
    }
    buf_init(&body, CONTROL_ANSWER_MAX);
    json_writer_init(&w, &body);
    json_write_object_begin(&w);
    json_write_member_str(&w, "region", n->region);
    json_write_member_str(&w, "display_name", n->name);
    json_write_object_end(&w);
    control_respond(n->request, 200, &body);
    mem_free(n);
}

/* ---- the request ------------------------------------------------------------
 */

static int parse(struct renaming *n, const struct json *j, struct err_msg *msg)
{
    const struct node *node = n->worker->node;
    int err = feature_refuse(&node->features, FEATURE_PARTS, msg);
    if (err != ERR_OK)
        return err;
    if (placement_get_name(j, json_get_str(j, 0, "region"), n->region) !=
            ERR_OK ||
        config_find_region(node->config, n->region) == NULL)
        return err_set(msg, ERR_INVALID, "region must be one of the cluster's");
    if (placement_get_name(j, json_get_str(j, 0, "name"), n->name) != ERR_OK ||
        !is_legal(n->name))
        return err_set(msg, ERR_INVALID,
                       "name is 1 to %d letters, digits, spaces and -_.(), "
                       "without spaces at its ends",
                       CATALOG_NAME_MAX);
    return ERR_OK;
}

void region_names_post(struct worker *w, struct http_request *r,
                       const struct json *j)
{
    struct err_msg msg = {.text = ""};
    struct renaming *n = mem_zalloc(sizeof(*n));
    n->worker = w;
    n->request = r;
    int err = parse(n, j, &msg);
    if (err != ERR_OK) {
        control_refuse_err(r, err, msg.text);
        mem_free(n);
        return;
    }
    struct account_edit edit = {.change = change,
                                .describe = describe,
                                .done = changed,
                                .user = n,
                                .timeout_us = NAMES_TIMEOUT_US,
                                .reason = "an administrator named a region"};
    snprintf(edit.who, sizeof(edit.who), "%s",
             r->peer_uri != NULL ? r->peer_uri : "?");
    snprintf(edit.what, sizeof(edit.what), "show region %.40s as %.60s",
             n->region, n->name);
    account_edit_begin(w, &edit);
}
