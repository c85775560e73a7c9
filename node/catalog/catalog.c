#include "node/catalog/catalog.h"

#include <string.h>
#include <uthash.h>

#include "node/base/mem.h"
#include "node/catalog/numbers.h"
#include "node/catalog/records.h"

#define CATALOG_MAGIC MAGIC('c', 'a', 't', 'a')

/* A database or a container: by number in a sorted table, by name in a hash
 * whose key is the number of the database it is in (0: none) and its name. */
struct entry {
    UT_hash_handle hh;
    uint32_t number;
    uint32_t database;
    struct catalog_database *db; /* one of the two; a reference */
    struct container_def *container;
    size_t key_len;
    uint8_t key[];
};

/* Entries by ascending number, which is the order of RIDs in one parent. */
struct table {
    struct entry **entries;
    size_t count;
    size_t cap;
};

struct group_record {
    uint64_t record;
    struct catalog_group group;
};

struct catalog {
    uint32_t magic;
    uint64_t lsn;
    struct table databases;
    struct table containers;
    struct entry *names; /* uthash of the entries of both tables */
    bool has_account;
    uint64_t account_record;
    struct catalog_account account;
    size_t group_count;
    struct group_record groups[GROUPS_MAX];
};

/* -- tables -------------------------------------------------------------- */

/* The index of the first entry whose number is not below `number`. */
static size_t table_lower(const struct table *t, uint32_t number)
{
    size_t low = 0;
    size_t high = t->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (t->entries[middle]->number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static size_t table_after(const struct table *t, uint32_t number)
{
    return number < UINT32_MAX ? table_lower(t, number + 1) : t->count;
}

static struct entry *table_find(const struct table *t, uint32_t number)
{
    size_t at = table_lower(t, number);
    bool found = at < t->count && t->entries[at]->number == number;
    return found ? t->entries[at] : NULL;
}

static void table_insert(struct table *t, struct entry *e)
{
    if (t->count == t->cap) {
        t->cap = t->cap > 0 ? 2 * t->cap : 16;
        t->entries = mem_realloc(t->entries, t->cap * sizeof(*t->entries));
    }
    size_t at = table_lower(t, e->number);
    memmove(t->entries + at + 1, t->entries + at,
            (t->count - at) * sizeof(*t->entries));
    t->entries[at] = e;
    t->count++;
}

static void table_take_out(struct table *t, const struct entry *e)
{
    size_t at = table_lower(t, e->number);
    CHECK(at < t->count && t->entries[at] == e);
    memmove(t->entries + at, t->entries + at + 1,
            (t->count - at - 1) * sizeof(*t->entries));
    t->count--;
}

/* -- entries ------------------------------------------------------------- */

#define NAME_KEY_MAX (4 + RESOURCE_NAME_BYTES_MAX)

static struct entry *find_name(const struct catalog *c, uint32_t database,
                               struct bytes name)
{
    uint8_t key[NAME_KEY_MAX];
    struct entry *found = NULL;
    if (name.len > RESOURCE_NAME_BYTES_MAX)
        return NULL;
    put_u32_be(key, database);
    if (name.len > 0)
        memcpy(key + 4, name.data, name.len);
    HASH_FIND(hh, c->names, key, 4 + name.len, found);
    return found;
}

static struct entry *entry_new(uint32_t number, uint32_t database,
                               struct bytes name)
{
    struct entry *e = mem_zalloc(sizeof(*e) + 4 + name.len);
    e->number = number;
    e->database = database;
    e->key_len = 4 + name.len;
    put_u32_be(e->key, database);
    memcpy(e->key + 4, name.data, name.len);
    return e;
}

static void entry_drop(struct catalog *c, struct table *t, struct entry *e)
{
    table_take_out(t, e);
    HASH_DEL(c->names, e);
    catalog_database_unref(e->db);
    container_def_unref(e->container);
    mem_free(e);
}

/* Takes the place of whatever had its number or its name. */
static void entry_add(struct catalog *c, struct table *t, struct entry *e)
{
    struct entry *old = table_find(t, e->number);
    if (old != NULL)
        entry_drop(c, t, old);
    old = find_name(c, e->database, bytes_of(e->key + 4, e->key_len - 4));
    if (old != NULL)
        entry_drop(c, t, old);
    HASH_ADD(hh, c->names, key, e->key_len, e);
    table_insert(t, e);
}

/* -- building ------------------------------------------------------------ */

struct catalog *catalog_new(void)
{
    struct catalog *c = mem_zalloc(sizeof(*c));
    c->magic = CATALOG_MAGIC;
    return c;
}

static void table_clear(struct catalog *c, struct table *t)
{
    while (t->count > 0)
        entry_drop(c, t, t->entries[t->count - 1]);
    mem_free(t->entries);
    *t = (struct table){.count = 0};
}

void catalog_clear(struct catalog *c)
{
    CHECK_OBJ(c, CATALOG_MAGIC);
    table_clear(c, &c->containers);
    table_clear(c, &c->databases);
    CHECK(c->names == NULL);
    c->lsn = 0;
    c->has_account = false;
    c->group_count = 0;
}

void catalog_free(struct catalog *c)
{
    if (c == NULL)
        return;
    catalog_clear(c);
    c->magic = 0;
    mem_free(c);
}

static int wrong_place(struct err_msg *msg, const char *what)
{
    return err_set(msg, ERR_CORRUPT,
                   "stored %s record: its _rid is not the one that its place "
                   "in the log gives",
                   what);
}

static int put_database(struct catalog *c, uint64_t record, struct bytes json,
                        struct err_msg *msg)
{
    struct catalog_database *db;
    int err = catalog_database_parse(json, &db, msg);
    if (err != ERR_OK)
        return err;
    uint32_t number;
    if (rid_number(record, &number) != ERR_OK || number != db->number ||
        db->name.len > RESOURCE_NAME_BYTES_MAX) {
        catalog_database_unref(db);
        return wrong_place(msg, "database");
    }
    db->record = record;
    struct entry *e = entry_new(number, 0, db->name);
    e->db = db;
    entry_add(c, &c->databases, e);
    return ERR_OK;
}

static int put_container(struct catalog *c, uint64_t record, struct bytes json,
                         struct err_msg *msg)
{
    struct container_def *def;
    int err = container_def_parse(json, &def, msg);
    if (err != ERR_OK)
        return err;
    uint32_t number;
    if (rid_number(record, &number) != ERR_OK || def->rid.len == 0 ||
        number != def->number || def->database < RID_NUMBER_FIRST ||
        def->name.len > RESOURCE_NAME_BYTES_MAX) {
        container_def_unref(def);
        return wrong_place(msg, "container");
    }
    def->record = record;
    struct entry *e = entry_new(number, def->database, def->name);
    e->container = def;
    entry_add(c, &c->containers, e);
    return ERR_OK;
}

static int put_account(struct catalog *c, uint64_t record, struct bytes json,
                       struct err_msg *msg)
{
    int err = catalog_account_parse(json, &c->account, msg);
    if (err != ERR_OK)
        return err;
    c->has_account = true;
    c->account_record = record;
    return ERR_OK;
}

static int put_group(struct catalog *c, uint64_t record, struct bytes json,
                     struct err_msg *msg)
{
    size_t at = 0;
    while (at < c->group_count && c->groups[at].record != record)
        at++;
    if (at == GROUPS_MAX)
        return err_set(msg, ERR_LIMIT, "more than %d placement groups",
                       GROUPS_MAX);
    int err = catalog_group_parse(json, &c->groups[at].group, msg);
    if (err != ERR_OK)
        return err;
    c->groups[at].record = record;
    if (at == c->group_count)
        c->group_count++;
    return ERR_OK;
}

void catalog_advance(struct catalog *c, uint64_t lsn)
{
    CHECK_OBJ(c, CATALOG_MAGIC);
    if (lsn > c->lsn)
        c->lsn = lsn;
}

int catalog_put(struct catalog *c, uint32_t container, uint64_t record,
                struct bytes json, uint64_t lsn, struct err_msg *msg)
{
    catalog_advance(c, lsn);
    switch (container) {
    case CONTAINER_DATABASES:
        return put_database(c, record, json, msg);
    case CONTAINER_CONTAINERS:
        return put_container(c, record, json, msg);
    case CONTAINER_ACCOUNT:
        return put_account(c, record, json, msg);
    case CONTAINER_GROUPS:
        return put_group(c, record, json, msg);
    default:
        return ERR_OK;
    }
}

/* A database takes its containers with it. */
static void delete_database(struct catalog *c, uint32_t number)
{
    struct entry *e = table_find(&c->databases, number);
    if (e == NULL)
        return;
    entry_drop(c, &c->databases, e);
    struct table *t = &c->containers;
    for (size_t i = t->count; i > 0; i--)
        if (t->entries[i - 1]->database == number)
            entry_drop(c, t, t->entries[i - 1]);
}

static void delete_group(struct catalog *c, uint64_t record)
{
    for (size_t i = 0; i < c->group_count; i++)
        if (c->groups[i].record == record) {
            c->groups[i] = c->groups[--c->group_count];
            return;
        }
}

void catalog_delete(struct catalog *c, uint32_t container, uint64_t record,
                    uint64_t lsn)
{
    catalog_advance(c, lsn);
    uint32_t number;
    if (container == CONTAINER_GROUPS) {
        delete_group(c, record);
    } else if (container == CONTAINER_ACCOUNT) {
        c->has_account = c->has_account && c->account_record != record;
    } else if (rid_number(record, &number) == ERR_OK) {
        if (container == CONTAINER_DATABASES)
            delete_database(c, number);
        struct entry *e = container == CONTAINER_CONTAINERS
                              ? table_find(&c->containers, number)
                              : NULL;
        if (e != NULL)
            entry_drop(c, &c->containers, e);
    }
}

uint64_t catalog_lsn(const struct catalog *c)
{
    CHECK_OBJ(c, CATALOG_MAGIC);
    return c->lsn;
}

/* -- looking up ---------------------------------------------------------- */

struct catalog_database *catalog_database(const struct catalog *c,
                                          struct bytes segment)
{
    CHECK_OBJ(c, CATALOG_MAGIC);
    struct entry *e = find_name(c, 0, segment);
    struct rid rid;
    if (e == NULL && rid_parse(segment, &rid) == ERR_OK &&
        rid_kind(&rid) == RID_DATABASE)
        e = table_find(&c->databases, rid_database_number(&rid));
    return e != NULL ? e->db : NULL;
}

struct container_def *catalog_container(const struct catalog *c,
                                        const struct catalog_database *db,
                                        struct bytes segment)
{
    CHECK_OBJ(c, CATALOG_MAGIC);
    CHECK_OBJ(db, CATALOG_DATABASE_MAGIC);
    struct entry *e = find_name(c, db->number, segment);
    struct rid rid;
    if (e == NULL && rid_parse(segment, &rid) == ERR_OK &&
        rid_kind(&rid) == RID_CONTAINER &&
        rid_database_number(&rid) == db->number)
        e = table_find(&c->containers, rid_container_number(&rid));
    return e != NULL && e->database == db->number ? e->container : NULL;
}

struct container_def *catalog_container_number(const struct catalog *c,
                                               uint32_t number)
{
    CHECK_OBJ(c, CATALOG_MAGIC);
    struct entry *e = table_find(&c->containers, number);
    /* At start-up a container may be read before its database. */
    if (e == NULL || table_find(&c->databases, e->database) == NULL)
        return NULL;
    return e->container;
}

size_t catalog_database_count(const struct catalog *c)
{
    return c->databases.count;
}

size_t catalog_container_count(const struct catalog *c)
{
    return c->containers.count;
}

size_t catalog_list_databases(const struct catalog *c, uint32_t after,
                              struct catalog_database **list_out, size_t max)
{
    const struct table *t = &c->databases;
    size_t found = 0;
    for (size_t i = table_after(t, after); i < t->count && found < max; i++)
        list_out[found++] = t->entries[i]->db;
    return found;
}

size_t catalog_list_containers(const struct catalog *c,
                               const struct catalog_database *db,
                               uint32_t after, struct container_def **list_out,
                               size_t max)
{
    CHECK_OBJ(db, CATALOG_DATABASE_MAGIC);
    const struct table *t = &c->containers;
    size_t found = 0;
    for (size_t i = table_after(t, after); i < t->count && found < max; i++)
        if (t->entries[i]->database == db->number)
            list_out[found++] = t->entries[i]->container;
    return found;
}

size_t catalog_list_all(const struct catalog *c, uint32_t after,
                        struct container_def **list_out, size_t max)
{
    const struct table *t = &c->containers;
    size_t found = 0;
    for (size_t i = table_after(t, after); i < t->count && found < max; i++)
        list_out[found++] = t->entries[i]->container;
    return found;
}

size_t catalog_list_moved(const struct catalog *c, uint32_t after,
                          struct container_def **list_out, size_t max)
{
    const struct table *t = &c->containers;
    size_t found = 0;
    for (size_t i = table_after(t, after); i < t->count && found < max; i++) {
        struct container_def *def = t->entries[i]->container;
        if (def->move.phase != CONTAINER_STAYS || def->move.number != 0 ||
            def->move.emptied)
            list_out[found++] = def;
    }
    return found;
}

const struct catalog_account *catalog_account(const struct catalog *c)
{
    return c->has_account ? &c->account : NULL;
}

const struct catalog_group *catalog_group(const struct catalog *c,
                                          const char *name)
{
    for (size_t i = 0; i < c->group_count; i++)
        if (strcmp(c->groups[i].group.name, name) == 0)
            return &c->groups[i].group;
    return NULL;
}

const struct catalog_group *catalog_group_named(const struct catalog *c,
                                                struct bytes name)
{
    char text[CATALOG_NAME_MAX + 1];
    if (name.len == 0)
        return catalog_group_number(c, GROUP_DEFAULT);
    if (name.len > CATALOG_NAME_MAX || memchr(name.data, 0, name.len) != NULL)
        return NULL;
    memcpy(text, name.data, name.len);
    text[name.len] = '\0';
    return catalog_group(c, text);
}

const struct catalog_group *catalog_group_at(const struct catalog *c,
                                             size_t index)
{
    return index < c->group_count ? &c->groups[index].group : NULL;
}

const struct catalog_group *catalog_group_of_shard(const struct catalog *c,
                                                   uint32_t shard)
{
    for (size_t i = 0; i < c->group_count; i++) {
        const struct catalog_group *g = &c->groups[i].group;
        if (catalog_group_has_shard(g, shard))
            return g;
    }
    return NULL;
}

bool catalog_shard_retired(const struct catalog *c, uint32_t shard)
{
    for (size_t i = 0; i < c->group_count; i++)
        if (catalog_group_retired(&c->groups[i].group, shard))
            return true;
    return false;
}

const struct catalog_group *catalog_group_of_record(const struct catalog *c,
                                                    uint64_t record)
{
    for (size_t i = 0; i < c->group_count; i++)
        if (c->groups[i].record == record)
            return &c->groups[i].group;
    return NULL;
}

bool catalog_shard_removed(const struct catalog *c, uint32_t shard)
{
    const struct catalog_account *a = catalog_account(c);
    for (size_t i = 0; a != NULL && i < a->removed_count; i++)
        if (shard >= a->removed[i].first &&
            shard - a->removed[i].first < a->removed[i].count)
            return true;
    return false;
}

const struct catalog_group *catalog_group_number(const struct catalog *c,
                                                 uint16_t number)
{
    for (size_t i = 0; i < c->group_count; i++)
        if (c->groups[i].group.number == number)
            return &c->groups[i].group;
    return NULL;
}
