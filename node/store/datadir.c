#include "node/store/datadir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/base/buf.h"
#include "node/base/check.h"
#include "node/base/file.h"
#include "node/base/mem.h"
#include "node/base/text.h"

#define DATADIR_MAGIC 0x64617461u
#define IDENTITY_BYTES_MAX 1024
#define DISCARDED_MAX 10000
#define DISCARD_MARKER "discarding"
#define REBUILD_MARKER "rebuilding"
#define DAMAGE_NOTE "damaged"
#define QUARANTINE_PREFIX "quarantine-"
#define DISCARDED_SHARD "discarded-shard-"
#define ROLE_WITNESS "witness "
#define ROLE_PAYLOAD "payload "
#define ROLE_TEXT_MAX 64
#define SHARD_MARK_MAX 65536

struct datadir {
    uint32_t magic;
    char *path;
    int lock_fd;
    struct datadir_identity identity;
};

/* -- paths -- */

static int join(const struct datadir *d, const char *name,
                char out[DATADIR_PATH_MAX])
{
    int len = snprintf(out, DATADIR_PATH_MAX, "%s/%s", d->path, name);
    return len > 0 && len < DATADIR_PATH_MAX ? ERR_OK : ERR_LIMIT;
}

/* Makes a directory below the data directory, durably; fine if it is there. */
static int make_dir(const char *path)
{
    if (mkdir(path, 0700) == 0)
        return file_sync_parent(path);
    return errno == EEXIST ? ERR_OK : err_from_errno(errno);
}

static int numbered(struct datadir *d, const char *family, uint32_t number,
                    char path_out[DATADIR_PATH_MAX])
{
    char name[64];
    CHECK_OBJ(d, DATADIR_MAGIC);
    int code = join(d, family, path_out);
    if (code == ERR_OK)
        code = make_dir(path_out);
    if (code != ERR_OK)
        return code;
    snprintf(name, sizeof(name), "%s/%u", family, number);
    code = join(d, name, path_out);
    return code == ERR_OK ? make_dir(path_out) : code;
}

int datadir_wal_path(struct datadir *d, uint32_t worker,
                     char path_out[DATADIR_PATH_MAX])
{
    return numbered(d, "wal", worker, path_out);
}

int datadir_shard_path(struct datadir *d, uint32_t shard,
                       char path_out[DATADIR_PATH_MAX])
{
    return numbered(d, "shards", shard, path_out);
}

static int gone_path(const struct datadir *d, uint32_t shard,
                     char path_out[DATADIR_PATH_MAX])
{
    char name[64];
    snprintf(name, sizeof(name), DATADIR_GONE "%u", shard);
    return join(d, name, path_out);
}

int datadir_retire_shard(struct datadir *d, uint32_t shard)
{
    char path[DATADIR_PATH_MAX];
    CHECK_OBJ(d, DATADIR_MAGIC);
    int code = gone_path(d, shard, path);
    return code == ERR_OK ? file_replace(path, 0600, bytes_of("", 0), NULL)
                          : code;
}

bool datadir_shard_retired(const struct datadir *d, uint32_t shard)
{
    char path[DATADIR_PATH_MAX];
    CHECK_OBJ(d, DATADIR_MAGIC);
    return gone_path(d, shard, path) == ERR_OK && access(path, F_OK) == 0;
}

int datadir_each_shard(struct datadir *d,
                       void (*each)(void *user, uint32_t shard), void *user)
{
    char path[DATADIR_PATH_MAX];
    int code = join(d, "shards", path);
    if (code != ERR_OK)
        return code;
    DIR *dir = opendir(path);
    if (dir == NULL)
        return errno == ENOENT ? ERR_OK : ERR_IO;
    struct dirent *entry;
    while (errno = 0, (entry = readdir(dir)) != NULL) {
        char *end;
        unsigned long number = strtoul(entry->d_name, &end, 10);
        if (end != entry->d_name && *end == '\0' && number <= UINT16_MAX)
            each(user, (uint32_t)number);
    }
    code = errno == 0 ? ERR_OK : ERR_IO;
    closedir(dir);
    return code;
}

/* -- the directory and its lock -- */

static int check_dir(const char *path, struct err_msg *msg)
{
    if (mkdir(path, 0700) == 0)
        return file_sync_parent(path);
    if (errno != EEXIST)
        return err_set(msg, err_from_errno(errno), "cannot make %s: %s", path,
                       strerror(errno));
    struct stat st;
    if (stat(path, &st) != 0)
        return err_set(msg, err_from_errno(errno), "cannot examine %s: %s",
                       path, strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return err_set(msg, ERR_INVALID, "%s is not a directory", path);
    if (st.st_uid != geteuid())
        return err_set(msg, ERR_FORBIDDEN,
                       "%s belongs to user %u, expected %u: chown it", path,
                       (unsigned)st.st_uid, (unsigned)geteuid());
    if ((st.st_mode & 0777) != 0700)
        return err_set(msg, ERR_FORBIDDEN,
                       "%s has mode %04o, expected 0700: run chmod 700", path,
                       (unsigned)(st.st_mode & 07777));
    return ERR_OK;
}

/* Who holds the lock, as far as its file says. */
static long holder(int fd)
{
    char text[32] = {0};
    long pid = 0;
    if (pread(fd, text, sizeof(text) - 1, 0) > 0)
        sscanf(text, "%ld", &pid);
    return pid;
}

static int note_pid(int fd)
{
    char text[32];
    int len = snprintf(text, sizeof(text), "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) != 0)
        return err_from_errno(errno);
    return file_pwrite_all(fd, bytes_of(text, (size_t)len), 0);
}

static int take_lock(struct datadir *d, struct err_msg *msg)
{
    char path[DATADIR_PATH_MAX];
    int code = join(d, "lock", path);
    if (code != ERR_OK)
        return err_set(msg, code, "the path %s is too long", d->path);
    d->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (d->lock_fd < 0)
        return err_set(msg, err_from_errno(errno), "cannot open %s: %s", path,
                       strerror(errno));
    if (flock(d->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK)
            return err_set(msg, ERR_BUSY, "%s is in use by process %ld",
                           d->path, holder(d->lock_fd));
        return err_set(msg, ERR_IO, "cannot lock %s: %s", path,
                       strerror(errno));
    }
    code = note_pid(d->lock_fd);
    if (code != ERR_OK)
        return err_set(msg, code, "cannot write %s: %s", path, err_text(code));
    return ERR_OK;
}

/* -- the identity file -- */

static bool name_ok(const char *name)
{
    size_t len = strnlen(name, DATADIR_NAME_MAX + 1);
    return len >= 1 && len <= DATADIR_NAME_MAX && strpbrk(name, " \n") == NULL;
}

static int write_identity(struct datadir *d, const char *path,
                          struct err_msg *msg)
{
    const struct datadir_identity *id = &d->identity;
    struct buf text;
    buf_init(&text, IDENTITY_BYTES_MAX);
    int code = buf_printf(&text,
                          "format %d\ncluster %s\ncluster-id %s\nnode %s\n"
                          "workers %u\n",
                          DATADIR_FORMAT, id->cluster, id->cluster_id, id->node,
                          id->workers);
    if (code == ERR_OK)
        code = file_create(path, 0600,
                           bytes_of(buf_bytes(&text), buf_len(&text)), msg);
    buf_free(&text);
    return code;
}

/* The value of the line that begins with `name` and a blank; empty: none. */
static struct bytes value_of(struct bytes text, const char *name)
{
    size_t name_len = strlen(name);
    while (text.len > 0) {
        const uint8_t *end = memchr(text.data, '\n', text.len);
        size_t len = end != NULL ? (size_t)(end - text.data) : text.len;
        if (len > name_len && text.data[name_len] == ' ' &&
            memcmp(text.data, name, name_len) == 0)
            return bytes_of(text.data + name_len + 1, len - name_len - 1);
        len += end != NULL;
        text = bytes_of(text.data + len, text.len - len);
    }
    return bytes_of(NULL, 0);
}

static bool copy_name(struct bytes value, char out[DATADIR_NAME_MAX + 1])
{
    if (value.len == 0 || value.len > DATADIR_NAME_MAX)
        return false;
    memcpy(out, value.data, value.len);
    out[value.len] = '\0';
    return name_ok(out);
}

static int parse_identity(struct bytes text, const char *path,
                          struct datadir_identity *out, struct err_msg *msg)
{
    struct datadir_identity id = {0};
    uint64_t format, workers;
    if (text_parse_u64(value_of(text, "format"), UINT32_MAX, &format) != ERR_OK)
        return err_set(msg, ERR_CORRUPT, "%s: no format line", path);
    if (format != DATADIR_FORMAT)
        return err_set(msg, ERR_UNSUPPORTED,
                       "%s: format %llu, this program reads format %d", path,
                       (unsigned long long)format, DATADIR_FORMAT);
    if (!copy_name(value_of(text, "cluster"), id.cluster) ||
        !copy_name(value_of(text, "cluster-id"), id.cluster_id) ||
        !copy_name(value_of(text, "node"), id.node) ||
        text_parse_u64(value_of(text, "workers"), DATADIR_WORKERS_MAX,
                       &workers) != ERR_OK ||
        workers == 0)
        return err_set(msg, ERR_CORRUPT,
                       "%s: expected cluster, cluster-id, node and workers",
                       path);
    id.workers = (uint32_t)workers;
    *out = id;
    return ERR_OK;
}

static int compare_identity(struct datadir *d,
                            const struct datadir_identity *found,
                            struct err_msg *msg)
{
    const struct datadir_identity *want = &d->identity;
    if (strcmp(found->cluster_id, want->cluster_id) == 0 &&
        strcmp(found->cluster, want->cluster) == 0 &&
        strcmp(found->node, want->node) == 0)
        return ERR_OK;
    return err_set(msg, ERR_IDENTITY,
                   "%s belongs to node %s of cluster %s (%s); this is node %s "
                   "of cluster %s (%s)",
                   d->path, found->node, found->cluster, found->cluster_id,
                   want->node, want->cluster, want->cluster_id);
}

static int settle_identity(struct datadir *d, struct err_msg *msg)
{
    char path[DATADIR_PATH_MAX];
    int code = join(d, "identity", path);
    if (code != ERR_OK)
        return err_set(msg, code, "the path %s is too long", d->path);
    struct buf text;
    buf_init(&text, IDENTITY_BYTES_MAX);
    code = file_read(path, true, &text, msg);
    if (code == ERR_NOT_FOUND) {
        buf_free(&text);
        return write_identity(d, path, msg);
    }
    struct datadir_identity found;
    if (code == ERR_LIMIT)
        code = ERR_CORRUPT;
    if (code == ERR_OK)
        code = parse_identity(bytes_of(buf_bytes(&text), buf_len(&text)), path,
                              &found, msg);
    buf_free(&text);
    if (code == ERR_OK)
        code = compare_identity(d, &found, msg);
    if (code == ERR_OK)
        d->identity.workers = found.workers;
    return code;
}

/* -- discarding -- */

static bool exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

static int discarded_name(const struct datadir *d, unsigned n,
                          char out[DATADIR_PATH_MAX])
{
    char name[64];
    snprintf(name, sizeof(name), "discarded-%u", n);
    return join(d, name, out);
}

/* The first name discarded-<n> that is free. */
static int discarded_path(struct datadir *d, char out[DATADIR_PATH_MAX])
{
    for (unsigned n = 1; n <= DISCARDED_MAX; n++) {
        int code = discarded_name(d, n, out);
        if (code != ERR_OK || !exists(out))
            return code;
    }
    return ERR_LIMIT;
}

int datadir_discarded(const struct datadir *d, char path_out[DATADIR_PATH_MAX])
{
    char path[DATADIR_PATH_MAX];
    bool found = false;
    for (unsigned n = 1; n <= DISCARDED_MAX; n++) {
        int code = discarded_name(d, n, path);
        if (code != ERR_OK)
            return code;
        if (!exists(path))
            break;
        memcpy(path_out, path, sizeof(path));
        found = true;
    }
    return found ? ERR_OK : ERR_NOT_FOUND;
}

static int drop_mark(struct datadir *d, const char *name)
{
    char path[DATADIR_PATH_MAX];
    int code = join(d, name, path);
    if (code != ERR_OK)
        return code;
    if (unlink(path) != 0)
        return errno == ENOENT ? ERR_OK : err_from_errno(errno);
    return file_sync_folder(d->path);
}

static int put_away(struct datadir *d, const char *family, const char *away)
{
    char from[DATADIR_PATH_MAX], to[DATADIR_PATH_MAX];
    int code = join(d, family, from);
    if (code != ERR_OK || !exists(from))
        return code;
    int len = snprintf(to, sizeof(to), "%s/%s", away, family);
    if (len < 0 || len >= (int)sizeof(to))
        return ERR_LIMIT;
    if (rename(from, to) != 0)
        return err_from_errno(errno);
    code = file_sync_folder(away);
    return code == ERR_OK ? file_sync_folder(d->path) : code;
}

/* The number in a name that begins with `prefix`. */
static bool shard_of_name(const char *name, const char *prefix,
                          uint32_t *shard_out)
{
    uint64_t shard;
    size_t len = strlen(prefix);
    if (strncmp(name, prefix, len) != 0 ||
        text_parse_u64(bytes_str(name + len), UINT16_MAX, &shard) != ERR_OK)
        return false;
    *shard_out = (uint32_t)shard;
    return true;
}

static int each_shard_name(struct datadir *d, const char *prefix,
                           int (*each)(struct datadir *d, uint32_t shard))
{
    DIR *dir = opendir(d->path);
    if (dir == NULL)
        return ERR_IO;
    int code = ERR_OK;
    struct dirent *entry;
    uint32_t shard;
    while (code == ERR_OK && (entry = readdir(dir)) != NULL)
        if (shard_of_name(entry->d_name, prefix, &shard))
            code = each(d, shard);
    closedir(dir);
    return code;
}

int datadir_each_mark(struct datadir *d,
                      void (*each)(void *user, uint32_t shard), void *user)
{
    DIR *dir = opendir(d->path);
    if (dir == NULL)
        return ERR_IO;
    struct dirent *entry;
    uint32_t shard;
    while (errno = 0, (entry = readdir(dir)) != NULL)
        if (shard_of_name(entry->d_name, REBUILD_MARKER "-", &shard))
            each(user, shard);
    int code = errno == 0 ? ERR_OK : ERR_IO;
    closedir(dir);
    return code;
}

/* What the shards of the log that goes had promised, goes with it. */
static int drop_shard_marks(struct datadir *d)
{
    int code = each_shard_name(d, REBUILD_MARKER "-", datadir_shard_rebuilt);
    return code == ERR_OK ? each_shard_name(d, DATADIR_ROLE, datadir_drop_role)
                          : code;
}

/* Log and shards must go together: shards without their log have no votes, a
 * log without its shards has no beginning. The marker makes it one step; a
 * start that finds it finishes the job. */
static int finish_discard(struct datadir *d, const char *marker)
{
    char away[DATADIR_PATH_MAX];
    int code = discarded_path(d, away);
    if (code == ERR_OK)
        code = drop_shard_marks(d);
    if (code == ERR_OK)
        code = make_dir(away);
    if (code == ERR_OK)
        code = put_away(d, "wal", away);
    if (code == ERR_OK)
        code = put_away(d, "shards", away);
    if (code == ERR_OK)
        code = put_away(d, DAMAGE_NOTE, away);
    if (code == ERR_OK && unlink(marker) != 0)
        code = err_from_errno(errno);
    return code == ERR_OK ? file_sync_folder(d->path) : code;
}

static int resume_discard(struct datadir *d, struct err_msg *msg)
{
    char marker[DATADIR_PATH_MAX];
    int code = join(d, DISCARD_MARKER, marker);
    if (code != ERR_OK || !exists(marker))
        return code;
    code = finish_discard(d, marker);
    if (code != ERR_OK)
        return err_set(msg, code, "cannot put away the data in %s: %s", d->path,
                       err_text(code));
    return ERR_OK;
}

/* A note whose being there says it all. */
static int put_mark(struct datadir *d, const char *name, const char *text,
                    struct err_msg *msg)
{
    char path[DATADIR_PATH_MAX];
    int code = join(d, name, path);
    return code == ERR_OK
               ? file_replace(path, 0600, bytes_str(text), msg)
               : err_set(msg, code, "the path %s is too long", d->path);
}

static bool has_name(const struct datadir *d, const char *name)
{
    char path[DATADIR_PATH_MAX];
    return join(d, name, path) == ERR_OK && exists(path);
}

int datadir_discard(struct datadir *d, struct err_msg *msg)
{
    CHECK_OBJ(d, DATADIR_MAGIC);
    /* In this order: never an empty directory without the first mark. */
    int code = put_mark(d, REBUILD_MARKER, "rebuilding\n", msg);
    if (code == ERR_OK && datadir_has_data(d))
        code = put_mark(d, DISCARD_MARKER, "discarding\n", msg);
    return code == ERR_OK ? resume_discard(d, msg) : code;
}

bool datadir_rebuilding(const struct datadir *d)
{
    return has_name(d, REBUILD_MARKER);
}

int datadir_rebuilt(struct datadir *d)
{
    CHECK_OBJ(d, DATADIR_MAGIC);
    return drop_mark(d, REBUILD_MARKER);
}

bool datadir_has_data(const struct datadir *d)
{
    return has_name(d, "wal") || has_name(d, "shards");
}

void datadir_note_damage(struct datadir *d, const char *what)
{
    if (what != NULL)
        (void)put_mark(d, DAMAGE_NOTE, what, NULL);
    else
        (void)drop_mark(d, DAMAGE_NOTE);
}

bool datadir_damaged(const struct datadir *d)
{
    return has_name(d, DAMAGE_NOTE);
}

/* -- one shard -- */

static int shard_name(const struct datadir *d, const char *prefix,
                      uint32_t shard, char out[DATADIR_PATH_MAX])
{
    char name[64];
    snprintf(name, sizeof(name), "%s%u", prefix, shard);
    return join(d, name, out);
}

/* A shard has a store or not, is being put away or rebuilt or neither: each
 * step leaves a state from which this goes on. */
static int finish_quarantine(struct datadir *d, uint32_t shard)
{
    char store[DATADIR_PATH_MAX], away[DATADIR_PATH_MAX];
    char begun[DATADIR_PATH_MAX], mark[DATADIR_PATH_MAX];
    int code = shard_name(d, "shards/", shard, store);
    if (code == ERR_OK)
        code = shard_name(d, DISCARDED_SHARD, shard, away);
    if (code == ERR_OK)
        code = shard_name(d, QUARANTINE_PREFIX, shard, begun);
    if (code == ERR_OK)
        code = shard_name(d, REBUILD_MARKER "-", shard, mark);
    if (code == ERR_OK && exists(store)) {
        if (exists(away))
            code = file_remove_tree(away);
        if (code == ERR_OK && rename(store, away) != 0)
            code = err_from_errno(errno);
        if (code == ERR_OK)
            code = file_sync_parent(store);
    }
    if (code == ERR_OK && rename(begun, mark) != 0)
        code = err_from_errno(errno);
    return code == ERR_OK ? file_sync_folder(d->path) : code;
}

int datadir_quarantine(struct datadir *d, uint32_t shard, struct bytes mark,
                       struct err_msg *msg)
{
    char begun[DATADIR_PATH_MAX];
    CHECK_OBJ(d, DATADIR_MAGIC);
    CHECK(mark.len <= SHARD_MARK_MAX);
    int code = shard_name(d, QUARANTINE_PREFIX, shard, begun);
    if (code != ERR_OK)
        return err_set(msg, code, "the path %s is too long", d->path);
    code = file_replace(begun, 0600, mark, msg);
    if (code != ERR_OK)
        return code;
    code = finish_quarantine(d, shard);
    return code == ERR_OK ? ERR_OK
                          : err_set(msg, code,
                                    "cannot put away %s/shards/%u: "
                                    "%s",
                                    d->path, shard, err_text(code));
}

int datadir_shard_mark(const struct datadir *d, uint32_t shard, struct buf *out)
{
    char path[DATADIR_PATH_MAX];
    int code = shard_name(d, REBUILD_MARKER "-", shard, path);
    if (code != ERR_OK || !exists(path))
        return code == ERR_OK ? ERR_NOT_FOUND : code;
    return file_read(path, true, out, NULL);
}

int datadir_shard_rebuilt(struct datadir *d, uint32_t shard)
{
    char name[64];
    CHECK_OBJ(d, DATADIR_MAGIC);
    snprintf(name, sizeof(name), REBUILD_MARKER "-%u", shard);
    return drop_mark(d, name);
}

int datadir_set_role(struct datadir *d, uint32_t shard,
                     const struct datadir_role *role)
{
    char path[DATADIR_PATH_MAX], text[ROLE_TEXT_MAX];
    CHECK_OBJ(d, DATADIR_MAGIC);
    snprintf(text, sizeof(text), "%s%u\n",
             role->witness ? ROLE_WITNESS : ROLE_PAYLOAD, role->epoch);
    int code = shard_name(d, DATADIR_ROLE, shard, path);
    return code == ERR_OK ? file_replace(path, 0600, bytes_str(text), NULL)
                          : code;
}

static int parse_role(const char *text, struct datadir_role *out)
{
    size_t len = strlen(ROLE_WITNESS), end = strcspn(text, "\n");
    uint64_t epoch;
    _Static_assert(sizeof(ROLE_WITNESS) == sizeof(ROLE_PAYLOAD), "as long");
    out->witness = strncmp(text, ROLE_WITNESS, len) == 0;
    if ((!out->witness && strncmp(text, ROLE_PAYLOAD, len) != 0) ||
        text_parse_u64(bytes_of(text + len, end - len), UINT32_MAX, &epoch) !=
            ERR_OK)
        return ERR_CORRUPT;
    out->epoch = (uint32_t)epoch;
    return ERR_OK;
}

int datadir_role(const struct datadir *d, uint32_t shard,
                 struct datadir_role *out)
{
    char path[DATADIR_PATH_MAX];
    struct buf text;
    int code = shard_name(d, DATADIR_ROLE, shard, path);
    if (code != ERR_OK || !exists(path))
        return code == ERR_OK ? ERR_NOT_FOUND : code;
    buf_init(&text, ROLE_TEXT_MAX);
    code = file_read(path, true, &text, NULL);
    if (code == ERR_OK)
        code = parse_role(buf_cstr(&text), out);
    buf_free(&text);
    return code;
}

int datadir_drop_role(struct datadir *d, uint32_t shard)
{
    char name[64];
    CHECK_OBJ(d, DATADIR_MAGIC);
    snprintf(name, sizeof(name), DATADIR_ROLE "%u", shard);
    return drop_mark(d, name);
}

int datadir_drop_discarded(const struct datadir *d, uint32_t shard)
{
    char away[DATADIR_PATH_MAX];
    int code = shard_name(d, DISCARDED_SHARD, shard, away);
    return code == ERR_OK && exists(away) ? file_remove_tree(away) : code;
}

static int drop_discarded(struct datadir *d, uint32_t shard)
{
    return datadir_drop_discarded(d, shard);
}

/* What the last process began to put away, and to delete. */
static int resume_quarantines(struct datadir *d, struct err_msg *msg)
{
    int code = each_shard_name(d, QUARANTINE_PREFIX, finish_quarantine);
    if (code == ERR_OK)
        code = each_shard_name(d, DISCARDED_SHARD, drop_discarded);
    return code == ERR_OK
               ? ERR_OK
               : err_set(msg, code, "cannot put away a shard in %s: %s",
                         d->path, err_text(code));
}

/* -- opening -- */

static int open_steps(struct datadir *d, struct err_msg *msg)
{
    int code = check_dir(d->path, msg);
    if (code == ERR_OK)
        code = take_lock(d, msg);
    if (code == ERR_OK)
        code = settle_identity(d, msg);
    if (code == ERR_OK)
        code = resume_discard(d, msg);
    if (code == ERR_OK)
        code = resume_quarantines(d, msg);
    return code;
}

int datadir_open(const char *path, const struct datadir_identity *want,
                 struct err_msg *msg, struct datadir **datadir_out)
{
    if (!name_ok(want->cluster) || !name_ok(want->cluster_id) ||
        !name_ok(want->node))
        return err_set(msg, ERR_INVALID,
                       "cluster, cluster id and node need names of 1 to %d "
                       "characters without blanks",
                       DATADIR_NAME_MAX);
    CHECK(want->workers >= 1 && want->workers <= DATADIR_WORKERS_MAX);
    struct datadir *d = mem_zalloc(sizeof(*d));
    d->magic = DATADIR_MAGIC;
    d->path = mem_strdup(path);
    d->lock_fd = -1;
    d->identity = *want;
    int code = open_steps(d, msg);
    if (code != ERR_OK) {
        datadir_close(d);
        return code;
    }
    *datadir_out = d;
    return ERR_OK;
}

void datadir_close(struct datadir *d)
{
    if (d == NULL)
        return;
    CHECK_OBJ(d, DATADIR_MAGIC);
    if (d->lock_fd >= 0)
        close(d->lock_fd); /* releases the lock */
    mem_free(d->path);
    d->magic = 0;
    mem_free(d);
}

uint32_t datadir_workers(const struct datadir *d)
{
    return d->identity.workers;
}

const char *datadir_path(const struct datadir *d)
{
    return d->path;
}
