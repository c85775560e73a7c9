#include "node/server/holdings_files.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "consensus/raft.h"
#include "node/base/text.h"
#include "node/json/json.h"
#include "node/store/datadir.h"
#include "node/store/wal.h"

/* What a data directory has at its top beside those (store/datadir.h). */
static const char *const known_files[] = {"identity", "lock", "damaged",
                                          "rebuilding"};

struct search {
    const char *dir;
    struct json_writer folders, log;
    struct buf *trouble;
    const char *path; /* of the log being inspected */
};

typedef void each_name(struct search *s, const char *path, const char *name);

static void cannot(struct search *s, const char *path, const char *why)
{
    (void)buf_printf(s->trouble, "%s%s: %s",
                     buf_len(s->trouble) > 0 ? "; " : "", path, why);
}

static bool absolute(const struct search *s, const char *path,
                     char out[DATADIR_PATH_MAX])
{
    int len = snprintf(out, DATADIR_PATH_MAX, "%s/%s", s->dir, path);
    return len > 0 && len < DATADIR_PATH_MAX;
}

/* Calls `each` for every name in a folder; none if it is not there. */
static void each_in(struct search *s, const char *path, each_name *each)
{
    char full[DATADIR_PATH_MAX];
    struct dirent *entry;
    errno = ENAMETOOLONG;
    DIR *folder = absolute(s, path, full) ? opendir(full) : NULL;
    if (folder == NULL) {
        if (errno != ENOENT)
            cannot(s, path, strerror(errno));
        return;
    }
    while ((entry = readdir(folder)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            each(s, path, entry->d_name);
    closedir(folder);
}

static bool join(const char *a, const char *b, char out[DATADIR_PATH_MAX])
{
    int len = snprintf(out, DATADIR_PATH_MAX, "%s/%s", a, b);
    return len > 0 && len < DATADIR_PATH_MAX;
}

/* Bytes of the files right below a folder, or of a file. */
static uint64_t bytes_of_path(struct search *s, const char *path)
{
    static const char *const files[] = {"data.mdb", "lock.mdb"};
    char full[DATADIR_PATH_MAX], file[DATADIR_PATH_MAX];
    struct stat st;
    uint64_t bytes = 0;
    if (!absolute(s, path, full) || stat(full, &st) != 0)
        return 0;
    if (!S_ISDIR(st.st_mode))
        return (uint64_t)st.st_size;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        if (join(full, files[i], file) && stat(file, &st) == 0)
            bytes += (uint64_t)st.st_size;
    return bytes;
}

/* `name` tells which shard it is of. */
static void put_folder(struct search *s, const char *path, const char *name)
{
    struct json_writer *w = &s->folders;
    uint64_t shard;
    json_write_object_begin(w);
    json_write_member_str(w, "path", path);
    json_write_key(w, "shard");
    if (text_parse_u64(bytes_str(name), UINT16_MAX, &shard) == ERR_OK)
        json_write_uint64(w, shard);
    else
        json_write_null(w);
    json_write_key(w, "bytes");
    json_write_uint64(w, bytes_of_path(s, path));
    json_write_object_end(w);
}

static bool ends_with(const char *name, const char *end)
{
    size_t len = strlen(name), end_len = strlen(end);
    return len >= end_len && strcmp(name + len - end_len, end) == 0;
}

/* A name in a store's folder, or in that of a snapshot being received. */
static void take_store_name(struct search *s, const char *parent,
                            const char *name)
{
    char path[DATADIR_PATH_MAX];
    if (!join(parent, name, path))
        return;
    if (strcmp(name, "incoming") == 0 && !ends_with(parent, "/incoming")) {
        const char *shard = strrchr(parent, '/');
        put_folder(s, path, shard != NULL ? shard + 1 : "");
        each_in(s, path, take_store_name);
    } else if (strcmp(name, "data.mdb") != 0 && strcmp(name, "lock.mdb") != 0) {
        put_folder(s, path, "");
    }
}

static void take_store(struct search *s, const char *parent, const char *name)
{
    char path[DATADIR_PATH_MAX];
    if (!join(parent, name, path))
        return;
    put_folder(s, path, name);
    each_in(s, path, take_store_name);
}

static void put_found(void *user, const struct wal_found *f)
{
    struct search *s = user;
    json_write_object_begin(&s->log);
    json_write_member_str(&s->log, "path", s->path);
    json_write_member_int64(&s->log, "shard", f->shard);
    json_write_key(&s->log, "entries");
    json_write_uint64(&s->log, f->entries);
    json_write_key(&s->log, "payloads");
    json_write_uint64(&s->log, f->payloads);
    json_write_key(&s->log, "last_lsn");
    json_write_uint64(&s->log, f->last_lsn);
    json_write_object_end(&s->log);
}

/* Segments that are being made have no entries yet. */
static void take_log_name(struct search *s, const char *parent,
                          const char *name)
{
    char path[DATADIR_PATH_MAX];
    if (!ends_with(name, ".seg") && !ends_with(name, ".tmp") &&
        join(parent, name, path))
        put_folder(s, path, "");
}

static void take_log(struct search *s, const char *parent, const char *name)
{
    char path[DATADIR_PATH_MAX], full[DATADIR_PATH_MAX];
    if (!join(parent, name, path) || !absolute(s, path, full))
        return;
    s->path = path;
    int err = wal_inspect(full, RAFT_ENTRY_DATA, put_found, s);
    if (err != ERR_OK)
        cannot(s, path, err_text(err));
    else
        each_in(s, path, take_log_name);
}

static bool is_known_file(const char *name)
{
    if (strncmp(name, "rebuilding-", strlen("rebuilding-")) == 0 ||
        strncmp(name, "quarantine-", strlen("quarantine-")) == 0 ||
        strncmp(name, DATADIR_ROLE, strlen(DATADIR_ROLE)) == 0)
        return true;
    for (size_t i = 0; i < sizeof(known_files) / sizeof(known_files[0]); i++)
        if (strcmp(name, known_files[i]) == 0)
            return true;
    return strncmp(name, DATADIR_GONE, strlen(DATADIR_GONE)) == 0;
}

/* `name` in the data directory itself, or in one that was put away. */
static void take_top(struct search *s, const char *parent, const char *name)
{
    char path[DATADIR_PATH_MAX];
    bool top = strcmp(parent, ".") == 0;
    if (!join(parent, name, path))
        return;
    const char *shown = top ? name : path;
    if (strcmp(name, "shards") == 0)
        each_in(s, shown, take_store);
    else if (strcmp(name, "wal") == 0)
        each_in(s, shown, take_log);
    else if (top && strncmp(name, "discarded-", strlen("discarded-")) == 0)
        each_in(s, name, take_top);
    else if (!is_known_file(name))
        put_folder(s, shown, "");
}

int holdings_files(const char *dir, struct buf *folders, struct buf *log,
                   struct buf *trouble)
{
    struct search s = {.dir = dir, .trouble = trouble};
    json_writer_init(&s.folders, folders);
    json_writer_init(&s.log, log);
    json_write_array_begin(&s.folders);
    json_write_array_begin(&s.log);
    each_in(&s, ".", take_top);
    json_write_array_end(&s.folders);
    json_write_array_end(&s.log);
    int err = json_writer_end(&s.folders);
    return err != ERR_OK ? err : json_writer_end(&s.log);
}
