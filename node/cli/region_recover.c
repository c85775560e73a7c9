/* bastide region recover: makes the survivors of a lost majority a cluster of
 * their own. The one command that can create a second history; so it looks
 * before, explains, and asks. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "node/base/check.h"
#include "node/cli/cmd.h"
#include "node/cli/options.h"
#include "node/cli/region.h"
#include "node/cli/topology.h"
#include "node/cli/wait.h"
#include "node/json/json.h"

#define COMMAND "region recover"
#define RECOVER_TIMEOUT_S 60
/* Regions that are lost to us may live and have decided epochs that nobody here
 * has heard of; ours must be higher. */
#define EPOCH_GAP 1000
#define DISBELIEF_US (5 * USEC_PER_SEC)
#define DISBELIEF_POLL_US (200 * USEC_PER_MS)

static const char help[] =
    "Usage: bastide region recover --survivors A[,B] --force [--yes]\n"
    "\n"
    "For the day when a majority of all nodes is gone for good. Without a "
    "majority\n"
    "the cluster takes no writes, since it cannot know whether the others go "
    "on\n"
    "without it. This command tells the nodes of the surviving regions that "
    "they do\n"
    "not: they alone are the cluster from now on, in a new epoch.\n"
    "\n"
    "Be sure that the lost regions are lost: switched off, not only out of "
    "reach from\n"
    "here. What they acknowledged and the survivors have not got is gone (it "
    "comes to\n"
    "/conflicts if their disks come back). The old nodes can never write by "
    "the old\n"
    "rule once they hear of the new epoch; they rejoin as followers.\n"
    "\n"
    "  --survivors A,B    the regions that are left\n"
    "  --force            do it; without, it only shows what it would do\n"
    "  --yes              do not ask for the cluster's name\n"
    "  --timeout SECONDS  how long to wait until writes go on (default 60)\n"
    "  --dir DIR          the folder made by `bastide init` or `bastide "
    "demo`\n"
    "                     (default ./demo): every surviving node is told\n"
    "  -o text|json       how to say what was done\n"
    "\n"
    "Example, after westeurope and southeastasia have burnt down:\n"
    "  bastide region recover --survivors eastus --dir demo --force\n";

struct recover_flags {
    struct reach_flags reach;
    const char *survivors;
    unsigned timeout_s;
    bool force, yes, json, help;
};

/* One node as this command sees it. */
struct witness {
    bool answers, survivor;
    struct err_msg why; /* it does not answer */
};

struct scene {
    const struct recover_flags *flags;
    struct reach *reach;
    struct witness nodes[LAYOUT_NODES_MAX];
    unsigned answering, survivors, survivors_answering;
    int64_t epoch; /* the newest that anybody who answers knows */
    char cluster[CONFIG_NAME_MAX + 1];
    bool known; /* a survivor can tell the topology: it is not newly started */
    struct topology topology;
};

static bool list_has(const char *list, const char *name)
{
    size_t len = strlen(name);
    for (const char *at = list;; at++) {
        size_t part = strcspn(at, ",");
        if (part == len && memcmp(at, name, len) == 0)
            return true;
        at += part;
        if (*at == '\0')
            return false;
    }
}

/* ---- looking ---------------------------------------------------------------
 */

static int check_names(const struct reach *r, const char *list)
{
    for (const char *at = list;; at++) {
        size_t len = strcspn(at, ",");
        bool known = false;
        for (unsigned i = 0; i < r->node_count; i++)
            known = known || (strlen(r->nodes[i].region) == len &&
                              memcmp(r->nodes[i].region, at, len) == 0);
        if (!known)
            return options_refuse(COMMAND,
                                  "there is no region \"%.*s\" in this "
                                  "cluster",
                                  (int)len, at);
        at += len;
        if (*at == '\0')
            return CMD_OK;
    }
}

static void look_at(struct scene *s, unsigned node, struct reach_answer *a)
{
    struct witness *w = &s->nodes[node];
    int64_t epoch;
    w->survivor = list_has(s->flags->survivors, s->reach->nodes[node].region);
    w->answers = reach_ask(s->reach, node, "regions/recover", NULL,
                           REACH_ASK_TIMEOUT_US, a, &w->why) == ERR_OK;
    s->answering += w->answers;
    s->survivors += w->survivor;
    s->survivors_answering += w->survivor && w->answers;
    if (!w->answers)
        return;
    topology_get_text(&a->json, 0, "cluster", s->cluster, sizeof(s->cluster));
    if (json_get_int64(&a->json, 0, "epoch", &epoch) == ERR_OK &&
        epoch > s->epoch)
        s->epoch = epoch;
    if (w->survivor && !s->known) {
        s->reach->first = node;
        s->known = reach_ask(s->reach, node, "topology", NULL,
                             REACH_ASK_TIMEOUT_US, a, NULL) == ERR_OK &&
                   topology_parse(&a->json, &s->topology, NULL) == ERR_OK;
    }
}

static void look(struct scene *s)
{
    struct reach_answer a;
    reach_answer_init(&a);
    for (unsigned i = 0; i < s->reach->node_count; i++)
        look_at(s, i, &a);
    reach_answer_free(&a);
}

static int check_scene(const struct scene *s, struct err_msg *msg)
{
    unsigned all = s->reach->node_count;
    if (s->answering > all / 2)
        return err_set(msg, ERR_PRECONDITION,
                       "%u of %u nodes answer: a majority is alive, and the "
                       "cluster goes on, or will when they hear each other "
                       "again. Mend the links, or move the writes with bastide "
                       "region switch. Nothing was changed",
                       s->answering, all);
    if (s->survivors_answering <= s->survivors / 2)
        return err_set(msg, ERR_PRECONDITION,
                       "only %u of the %u nodes of %s answer: start the "
                       "others first. Nothing was changed",
                       s->survivors_answering, s->survivors,
                       s->flags->survivors);
    return ERR_OK;
}

/* What the level says of the loss. A survivor that was started anew, alone,
 * may know an older one than what was decided last: so it only says what it
 * knows. */
static void explain_level(FILE *out, const struct scene *s)
{
    const struct topology *t = &s->topology;
    char policy[TOPOLOGY_POLICY_MAX];
    if (!s->known) {
        fputs("The survivors were started anew and cannot tell the level or "
              "where writes went.\n",
              out);
    } else if (t->level == CONSISTENCY_STRONG) {
        fputs("The level known here is strong: that can be any write that a "
              "majority without the survivors took.\n",
              out);
    } else {
        topology_policy_text(t->level, t->prefix, t->interval, policy);
        fprintf(out,
                "The level known here is %s, and writes went to %s: %s\n"
                "A node that was started anew may have missed a later "
                "decision.\n",
                policy, t->write_region,
                list_has(s->flags->survivors, t->write_region)
                    ? "if so, acknowledged writes survive."
                    : "if so, its last moments may be lost.");
    }
}

static void explain(FILE *out, const struct scene *s)
{
    fprintf(out, "FORCED RECOVERY of cluster %s from %s\n\n", s->cluster,
            s->flags->survivors);
    for (unsigned i = 0; i < s->reach->node_count; i++) {
        const struct witness *w = &s->nodes[i];
        fprintf(out, "  %-18s %-16s %-8s %s\n", s->reach->nodes[i].name,
                s->reach->nodes[i].region, w->answers ? "answers" : "silent",
                w->survivor  ? "survivor"
                : w->answers ? "not named: becomes a follower"
                             : w->why.text);
    }
    fprintf(out,
            "\nThe survivors become the whole cluster, in a new epoch, and "
            "writes go on there.\n"
            "Lost is what the silent nodes acknowledged and the survivors "
            "have not got.\n");
    explain_level(out, s);
    fputs("IF THE SILENT NODES ARE ALIVE SOMEWHERE AND HEAR EACH OTHER, THEY "
          "MAY STILL TAKE\nWRITES, and those are given up when they rejoin. "
          "Switch them off first.\n",
          out);
    fflush(out);
}

static int confirm(const struct scene *s)
{
    const struct recover_flags *f = s->flags;
    char question[CONFIG_NAME_MAX + 64];
    if (!f->force)
        return options_refuse(COMMAND, "nothing was changed; to do this, add "
                                       "--force");
    if (f->yes)
        return CMD_OK;
    if (!wait_can_ask())
        return options_refuse(COMMAND, "nobody is there to be asked; add "
                                       "--yes, nothing was changed");
    snprintf(question, sizeof(question),
             "Type the cluster's name (%s) to go on: ", s->cluster);
    return wait_confirm(question, s->cluster)
               ? CMD_OK
               : options_failed(COMMAND, "not confirmed, nothing was changed");
}

/* ---- doing -----------------------------------------------------------------
 */

static void write_request(const struct scene *s, struct buf *out)
{
    struct json_writer w;
    json_writer_init(&w, out);
    json_write_object_begin(&w);
    json_write_key(&w, "survivors");
    json_write_array_begin(&w);
    for (const char *at = s->flags->survivors;; at++) {
        size_t len = strcspn(at, ",");
        json_write_string(&w, bytes_of(at, len));
        at += len;
        if (*at == '\0')
            break;
    }
    json_write_array_end(&w);
    json_write_member_str(&w, "confirm", s->cluster);
    json_write_member_int64(&w, "epoch", s->epoch + EPOCH_GAP);
    json_write_object_end(&w);
    CHECK(json_writer_end(&w) == ERR_OK);
}

/* Tells one survivor. For a moment after the loss it still believes in the
 * leader it heard last, and refuses. */
static int tell_survivor(const struct scene *s, unsigned node, const char *body,
                         struct err_msg *msg)
{
    struct reach_answer a;
    struct err_msg why;
    usec_t deadline_us = clock_mono_us() + DISBELIEF_US;
    int err;
    reach_answer_init(&a);
    while ((err = reach_ask(s->reach, node, "regions/recover", body,
                            REACH_CHANGE_TIMEOUT_US, &a, &why)) ==
               ERR_PRECONDITION &&
           clock_mono_us() < deadline_us)
        usleep(DISBELIEF_POLL_US);
    reach_answer_free(&a);
    return err == ERR_OK ? ERR_OK
                         : err_set(msg, err, "%s: %.400s",
                                   s->reach->nodes[node].name, why.text);
}

/* Tells every survivor; told again with the same epoch, a node answers the
 * same. */
static int tell_survivors(const struct scene *s, struct err_msg *msg)
{
    struct buf request;
    int result = ERR_OK;
    buf_init(&request, HTTPS_REQUEST_MAX);
    write_request(s, &request);
    for (unsigned i = 0; i < s->reach->node_count; i++) {
        if (!s->nodes[i].survivor || !s->nodes[i].answers)
            continue;
        int err = tell_survivor(s, i, buf_cstr(&request), msg);
        if (err != ERR_OK)
            result = err;
        else if (!s->flags->json)
            printf("%s has taken it\n", s->reach->nodes[i].name);
    }
    fflush(stdout);
    buf_free(&request);
    return result;
}

static bool is_recovered(const struct topology *t, void *user)
{
    const struct scene *s = user;
    return t->settled && t->epoch >= s->epoch + EPOCH_GAP &&
           list_has(s->flags->survivors, t->write_region);
}

static int carry_out(struct scene *s, struct err_msg *msg)
{
    struct topology t;
    const struct recover_flags *f = s->flags;
    struct wait wait = {.reach = s->reach,
                        .what = "the recovery",
                        .timeout_us = (usec_t)f->timeout_s * USEC_PER_SEC,
                        .quiet = f->json,
                        .done = is_recovered,
                        .user = s};
    int err = tell_survivors(s, msg);
    if (err == ERR_OK)
        err = wait_for_topology(&wait, &t, msg);
    if (err != ERR_OK)
        return err;
    if (f->json)
        printf("{\"write_region\":\"%s\",\"epoch\":%lld,\"recovered\":%lld}\n",
               t.write_region, (long long)t.epoch, (long long)t.recovered);
    else
        printf(
            "Writes go to %s (epoch %lld). The cluster is %s alone now.\n"
            "When the lost nodes can be started again, they rejoin as "
            "followers. One that lived\non meanwhile may have been overruled: "
            "bastide status says what to do then.\n",
            t.write_region, (long long)t.epoch, f->survivors);
    return ERR_OK;
}

static int run(struct reach *r, const struct recover_flags *f)
{
    struct scene s = {.flags = f, .reach = r};
    struct err_msg msg;
    int code = check_names(r, f->survivors);
    if (code != CMD_OK)
        return code;
    look(&s);
    if (check_scene(&s, &msg) != ERR_OK)
        return options_failed(COMMAND, msg.text);
    explain(f->json ? stderr : stdout, &s);
    code = confirm(&s);
    if (code == CMD_OK && carry_out(&s, &msg) != ERR_OK)
        code = options_failed(COMMAND, msg.text);
    return code;
}

int region_recover(int argc, char **argv)
{
    struct recover_flags f = {.timeout_s = RECOVER_TIMEOUT_S};
    const struct option_spec specs[] = {
        {.name = "dir", .kind = OPTION_TEXT, .value = &f.reach.dir},
        {.name = "survivors", .kind = OPTION_TEXT, .value = &f.survivors},
        {.name = "force", .kind = OPTION_FLAG, .value = &f.force},
        {.name = "yes", .kind = OPTION_FLAG, .value = &f.yes},
        {.name = "timeout",
         .kind = OPTION_NUMBER,
         .value = &f.timeout_s,
         .min = 1,
         .max = 3600},
        {.name = "output", .kind = OPTION_OUTPUT, .value = &f.json},
        {.name = "help", .kind = OPTION_FLAG, .value = &f.help}};
    struct reach r = {.https = NULL};
    struct err_msg msg;
    int code = options_parse(COMMAND, argc, argv, specs, ARRAY_LEN(specs), 0,
                             NULL, NULL);
    if (code == CMD_OK && f.help) {
        fputs(help, stdout);
        return CMD_OK;
    }
    if (code == CMD_OK && f.survivors == NULL)
        code = options_refuse(COMMAND, "--survivors is needed");
    if (code != CMD_OK)
        return code;
    if (reach_open(&f.reach, &r, &msg) != ERR_OK)
        return options_failed(COMMAND, msg.text);
    code = run(&r, &f);
    reach_close(&r);
    return code;
}
