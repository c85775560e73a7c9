/* bastide fault add. */
#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/rng.h"
#include "node/cli/cmd.h"
#include "node/cli/fault.h"
#include "node/cli/fault_tell.h"
#include "node/cli/options.h"
#include "node/json/json.h"

#define COMMAND "fault add"
/* Flags that stand for members of a fault. */
#define MEMBERS_MAX 32
#define FLAG_NAME_MAX 24
#define OUTPUT_MAX (1 << 20)

static const char help[] =
    "Usage: bastide fault add KIND [flags]\n"
    "\n"
    "Adds a fault to a running cluster: tells every node, each applies what\n"
    "concerns it. It ends by itself after --for, or stays until it is cleared "
    "or the\n"
    "nodes start anew. Several add up.\n"
    "\n";

static const char common_help[] =
    "\n" REACH_HELP "  -o text|json    how to say what was done\n"
    "\n"
    "bastide fault --help lists the kinds with examples.\n";

struct add_flags {
    struct reach_flags reach;
    const char *values[MEMBERS_MAX];        /* by member; NULL: not given */
    bool set[MEMBERS_MAX];                  /* of those without a value */
    char flags[MEMBERS_MAX][FLAG_NAME_MAX]; /* "--delay-ms" */
    const char *shown[MEMBERS_MAX];         /* the same, for messages */
    bool json, help;
};

/* ---- flags -----------------------------------------------------------------
 */

/* Of "delay_ms": "--delay-ms". --key is the administrator's, so that of an
 * account has another name. */
static void flag_name(const char *member, char out[FLAG_NAME_MAX])
{
    bool is_key = strcmp(member, "key") == 0;
    int len = snprintf(out, FLAG_NAME_MAX, "--%s%s", is_key ? "account-" : "",
                       member);
    CHECK(len > 0 && len < FLAG_NAME_MAX);
    for (char *at = out; *at != '\0'; at++)
        if (*at == '_')
            *at = '-';
}

static int parse_flags(int argc, char **argv, struct add_flags *f,
                       const char **kind_out)
{
    struct option_spec specs[OPTION_SPECS_MAX] = {
        REACH_OPTIONS(&f->reach),
        {.name = "output", .kind = OPTION_OUTPUT, .value = &f->json},
        {.name = "help", .kind = OPTION_FLAG, .value = &f->help}};
    unsigned count = REACH_OPTION_COUNT + 2, words_count;
    const struct inject_member *m;
    char **words;
    for (size_t i = 0; (m = inject_member(i)) != NULL; i++) {
        CHECK(i < MEMBERS_MAX && count < OPTION_SPECS_MAX);
        flag_name(m->name, f->flags[i]);
        f->shown[i] = f->flags[i];
        specs[count++] = (struct option_spec){
            .name = f->flags[i] + strlen("--"),
            .kind = m->is_bool ? OPTION_FLAG : OPTION_TEXT,
            .value = m->is_bool ? (void *)&f->set[i] : (void *)&f->values[i]};
    }
    int code = options_parse(COMMAND, argc, argv, specs, count, 1, &words,
                             &words_count);
    *kind_out = code == CMD_OK && words_count > 0 ? words[0] : NULL;
    return code == CMD_OK ? reach_check_flags(COMMAND, &f->reach) : code;
}

static void print_member(const struct add_flags *f, enum inject_kind kind,
                         size_t i)
{
    const struct inject_member *m = inject_member(i);
    const char *by_default = inject_default(kind, i);
    printf("  %-19s %s", f->flags[i],
           m->is_bool ? "the other direction, too" : m->expected);
    if (by_default != NULL)
        printf(" (default %s)", by_default);
    putchar('\n');
}

static int print_kind(const struct add_flags *f, enum inject_kind kind)
{
    char storage[512];
    struct buf takes = buf_over(storage, sizeof(storage) - 1);
    inject_members(kind, f->shown, &takes);
    storage[buf_len(&takes)] = '\0';
    printf("Usage: bastide fault add %s [flags]\n\n%s: %s.\n\nIt takes %s:\n",
           inject_word(kind), inject_word(kind), inject_what(kind), storage);
    for (size_t i = 0; inject_member(i) != NULL; i++)
        if (inject_takes_member(kind, i))
            print_member(f, kind, i);
    if (kind == INJECT_PAUSE)
        puts("\nA pause takes at most 60s.");
    fputs(common_help, stdout);
    return CMD_OK;
}

static int print_help(const struct add_flags *f, const char *word)
{
    enum inject_kind kind;
    if (word != NULL && inject_find_kind(bytes_str(word), &kind) == ERR_OK)
        return print_kind(f, kind);
    fputs(help, stdout);
    fputs("Kinds:\n", stdout);
    for (size_t k = 0; k < INJECT_KIND_COUNT; k++)
        printf("  %-19s %s\n", inject_word((enum inject_kind)k),
               inject_what((enum inject_kind)k));
    fputs("\nbastide fault add KIND --help says which flags a kind takes.\n",
          stdout);
    fputs(common_help, stdout);
    return CMD_OK;
}

/* ---- the fault -------------------------------------------------------------
 */

/* Who gave none gets one, so that it is the same at every node. */
static void choose_id(struct inject_fault *f)
{
    if (f->id[0] == '\0')
        snprintf(f->id, sizeof(f->id), "%s-%04x", inject_word(f->kind),
                 (unsigned)(rng_u64() & 0xffff));
}

static int read_fault(const struct add_flags *f, const char *kind,
                      struct inject_fault *fault_out)
{
    const struct inject_member *m;
    struct json_writer w;
    struct err_msg msg;
    struct json j;
    struct buf text;
    buf_init(&text, INJECT_BODY_MAX);
    json_init(&j);
    json_writer_init(&w, &text);
    json_write_object_begin(&w);
    json_write_member_str(&w, "kind", kind);
    for (size_t i = 0; (m = inject_member(i)) != NULL; i++)
        if (f->values[i] != NULL)
            inject_put_member(&w, m->name, f->values[i]);
        else if (f->set[i])
            json_write_member_bool(&w, m->name, true);
    json_write_object_end(&w);
    int err = json_writer_end(&w);
    if (err == ERR_OK)
        err = json_parse(&j, bytes_of(buf_bytes(&text), buf_len(&text)),
                         INJECT_BODY_MAX, NULL);
    if (err != ERR_OK)
        err_set(&msg, err, "the values are too long");
    else
        err = inject_read_named(&j, 0, f->shown, fault_out, &msg);
    json_free(&j);
    buf_free(&text);
    return err == ERR_OK ? CMD_OK : options_refuse(COMMAND, "%s", msg.text);
}

/* ---- telling ---------------------------------------------------------------
 */

static void print_text(const struct reach *r, const struct inject_fault *f,
                       const struct fault_tell *t, const char *dir)
{
    char sentence[INJECT_SENTENCE_MAX];
    const char *comma = "";
    inject_describe(f, sentence, sizeof(sentence));
    printf("%s\n  at work at  ", sentence);
    for (unsigned i = 0; i < r->node_count; i++)
        if (t->nodes[i].how == FAULT_TOLD_DONE) {
            printf("%s%s", comma, fault_tell_node(r, i));
            comma = ", ";
        }
    if (inject_is_instant(f->kind)) {
        putchar('\n');
        return;
    }
    printf("\n  id          %s\n  ends        %s", f->id,
           f->for_us > 0 ? "by itself, or by " : "by ");
    printf("bastide fault clear %s%s%s\n", f->id, dir != NULL ? " --dir " : "",
           dir != NULL ? dir : "");
}

static void print_json(const struct reach *r, const struct inject_fault *f,
                       const struct fault_tell *t)
{
    struct buf out;
    struct json_writer w;
    char sentence[INJECT_SENTENCE_MAX];
    buf_init(&out, OUTPUT_MAX);
    json_writer_init(&w, &out);
    inject_describe(f, sentence, sizeof(sentence));
    json_write_object_begin(&w);
    json_write_member_str(&w, "id", f->id);
    json_write_member_str(&w, "description", sentence);
    json_write_key(&w, "nodes");
    json_write_array_begin(&w);
    for (unsigned i = 0; i < r->node_count; i++) {
        enum fault_told_how how = t->nodes[i].how;
        json_write_object_begin(&w);
        json_write_member_str(&w, "name", fault_tell_node(r, i));
        json_write_member_bool(&w, "reached", how != FAULT_TOLD_UNHEARD);
        json_write_member_bool(&w, "applies", how == FAULT_TOLD_DONE);
        if (how == FAULT_TOLD_UNHEARD || how == FAULT_TOLD_REFUSED)
            json_write_member_str(&w, "why", t->nodes[i].why.text);
        json_write_object_end(&w);
    }
    json_write_array_end(&w);
    json_write_object_end(&w);
    if (json_writer_end(&w) == ERR_OK)
        printf("%s\n", buf_cstr(&out));
    buf_free(&out);
}

static int report(const struct reach *r, const struct inject_fault *f,
                  const struct fault_tell *t, const struct add_flags *flags)
{
    if (flags->json)
        print_json(r, f, t);
    else if (t->done > 0)
        print_text(r, f, t, flags->reach.dir);
    fault_tell_complain(COMMAND, r, t);
    if (t->done > 0)
        return CMD_OK;
    return options_failed(COMMAND, "no node took it");
}

static int add(struct reach *r, const struct inject_fault *f,
               const struct add_flags *flags)
{
    struct buf request;
    struct fault_tell tell;
    buf_init(&request, HTTPS_REQUEST_MAX);
    fault_tell_write(f, &request);
    fault_tell_add(r, buf_cstr(&request), &tell);
    buf_free(&request);
    return report(r, f, &tell, flags);
}

int fault_add(int argc, char **argv)
{
    struct add_flags f = {.json = false};
    struct inject_fault fault;
    struct reach r = {.https = NULL};
    struct err_msg msg;
    const char *kind;
    int code = parse_flags(argc, argv, &f, &kind);
    if (code != CMD_OK)
        return code;
    if (f.help)
        return print_help(&f, kind);
    if (kind == NULL)
        return options_refuse(COMMAND, "which kind?");
    code = read_fault(&f, kind, &fault);
    if (code != CMD_OK)
        return code;
    choose_id(&fault);
    if (reach_open(&f.reach, &r, &msg) != ERR_OK)
        return options_failed(COMMAND, msg.text);
    code = add(&r, &fault, &f);
    reach_close(&r);
    return code;
}
