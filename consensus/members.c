#include "consensus/members.h"

#include <string.h>

#include "node/base/check.h"
#include "node/base/err.h"

#define CONFIG_VERSION 1
#define CONFIG_HEAD_SIZE 13
#define CONFIG_MEMBER_SIZE 8
#define FLAG_VOTER 1
#define FLAG_VOTER_OLD 2
#define FLAG_LEAVING 4
#define FLAG_WITNESS 8
#define FLAGS (FLAG_VOTER | FLAG_VOTER_OLD | FLAG_LEAVING | FLAG_WITNESS)

int raft_config_add(struct raft_config *c, struct raft_member m)
{
    CHECK(m.id != 0);
    if (c->n == RAFT_MEMBERS_MAX)
        return ERR_LIMIT;
    if (raft_config_find(c, m.id) != NULL)
        return ERR_EXISTS;
    uint32_t at = c->n;
    for (; at > 0 && c->members[at - 1].id > m.id; at--)
        c->members[at] = c->members[at - 1];
    c->members[at] = m;
    c->n++;
    return ERR_OK;
}

const struct raft_member *raft_config_find(const struct raft_config *c,
                                           raft_id id)
{
    for (uint32_t i = 0; i < c->n; i++) {
        if (c->members[i].id == id)
            return &c->members[i];
    }
    return NULL;
}

bool raft_config_is_voter(const struct raft_config *c, raft_id id)
{
    const struct raft_member *m = raft_config_find(c, id);
    return m != NULL && (m->voter || m->voter_old);
}

bool raft_config_is_witness(const struct raft_config *c, raft_id id)
{
    const struct raft_member *m = raft_config_find(c, id);
    return m != NULL && m->witness;
}

bool raft_config_may_lead(const struct raft_config *c, raft_id id)
{
    return raft_config_is_voter(c, id) && !raft_config_is_witness(c, id);
}

static bool member_equal(const struct raft_member *a,
                         const struct raft_member *b)
{
    return a->id == b->id && a->region == b->region &&
           a->priority == b->priority && a->voter == b->voter &&
           a->voter_old == b->voter_old && a->leaving == b->leaving &&
           a->witness == b->witness;
}

bool raft_config_equal(const struct raft_config *a, const struct raft_config *b)
{
    if (a->epoch != b->epoch || a->write_region != b->write_region ||
        a->ack != b->ack || a->joint != b->joint || a->n != b->n)
        return false;
    for (uint32_t i = 0; i < a->n; i++) {
        if (!member_equal(&a->members[i], &b->members[i]))
            return false;
    }
    return true;
}

static bool votes_in(const struct raft_member *m, bool old_half)
{
    return old_half ? m->voter_old : m->voter;
}

/* Voters of one half with payload, of all regions or (region != 0) of one. */
static uint32_t count_voters(const struct raft_config *c, bool old_half,
                             raft_region region)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < c->n; i++) {
        const struct raft_member *m = &c->members[i];
        count += votes_in(m, old_half) && !m->witness &&
                 (region == 0 || m->region == region);
    }
    return count;
}

static uint32_t count_witnesses(const struct raft_config *c, bool old_half)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < c->n; i++)
        count += votes_in(&c->members[i], old_half) && c->members[i].witness;
    return count;
}

/* Whether the half has the voters that it needs. */
static bool check_half(const struct raft_config *c, bool old_half)
{
    /* write_region is 0 exactly when any region will do. */
    if (count_voters(c, old_half, c->write_region) == 0)
        return false;
    uint32_t witnesses = count_witnesses(c, old_half);
    if (witnesses > 1)
        return false;
    uint32_t with_payload = count_voters(c, old_half, 0);
    uint32_t majority = (with_payload + witnesses) / 2 + 1;
    for (uint32_t i = 0; witnesses > 0 && i < c->n; i++) {
        uint32_t here = count_voters(c, old_half, c->members[i].region);
        if (here == with_payload || here >= majority)
            return false;
    }
    return true;
}

/* Whether a region has members with payload and members without. */
static bool is_mixed(const struct raft_config *c, raft_region region)
{
    uint32_t with = 0;
    uint32_t without = 0;
    for (uint32_t i = 0; i < c->n; i++) {
        if (c->members[i].region != region)
            continue;
        with += !c->members[i].witness;
        without += c->members[i].witness;
    }
    return with > 0 && without > 0;
}

static int check_members(const struct raft_config *c)
{
    raft_id last = 0;
    for (uint32_t i = 0; i < c->n; i++) {
        const struct raft_member *m = &c->members[i];
        if (m->id <= last || (m->voter_old && !c->joint))
            return ERR_INVALID;
        if (m->leaving && (m->voter || !m->voter_old))
            return ERR_INVALID;
        if (m->witness && is_mixed(c, m->region))
            return ERR_INVALID;
        last = m->id;
    }
    return ERR_OK;
}

int raft_config_check(const struct raft_config *c)
{
    if (c->n > RAFT_MEMBERS_MAX || c->ack > RAFT_ACK_REGION)
        return ERR_INVALID;
    if ((c->ack == RAFT_ACK_REGION) != (c->write_region != 0))
        return ERR_INVALID;
    if (check_members(c) != ERR_OK)
        return ERR_INVALID;
    if (!check_half(c, false) || (c->joint && !check_half(c, true)))
        return ERR_INVALID;
    return ERR_OK;
}

static bool same_voters(const struct raft_config *a,
                        const struct raft_config *b)
{
    for (uint32_t i = 0; i < a->n; i++) {
        const struct raft_member *m = &a->members[i];
        const struct raft_member *o = raft_config_find(b, m->id);
        /* A voter that moves to another region leaves one regional quorum for
         * another: that is a change of voters too. */
        if (m->voter && (o == NULL || !o->voter || o->region != m->region))
            return false;
    }
    return count_voters(a, false, 0) == count_voters(b, false, 0) &&
           count_witnesses(a, false) == count_witnesses(b, false);
}

/* A member keeps one region in both halves; moving takes a removal first. And
 * it keeps payloads, or none: a log without them must never lead. */
static bool turns_into_another(const struct raft_config *a,
                               const struct raft_config *b)
{
    for (uint32_t i = 0; i < a->n; i++) {
        const struct raft_member *o = raft_config_find(b, a->members[i].id);
        if (o != NULL && (o->region != a->members[i].region ||
                          o->witness != a->members[i].witness))
            return true;
    }
    return false;
}

static int make_joint(const struct raft_config *now,
                      const struct raft_config *target,
                      struct raft_config *entry_out)
{
    struct raft_config joint = *target;
    joint.joint = true;
    for (uint32_t i = 0; i < now->n; i++) {
        struct raft_member m = now->members[i];
        if (!m.voter)
            continue;
        struct raft_member *kept =
            (struct raft_member *)raft_config_find(&joint, m.id);
        if (kept != NULL) {
            kept->voter_old = true;
            continue;
        }
        m.voter = false;
        m.voter_old = true;
        m.leaving = true;
        int rc = raft_config_add(&joint, m);
        if (rc != ERR_OK)
            return rc;
    }
    if (raft_config_check(&joint) != ERR_OK)
        return ERR_INVALID;
    *entry_out = joint;
    return ERR_OK;
}

int raft_config_enter(const struct raft_config *now,
                      const struct raft_config *target,
                      struct raft_config *entry_out)
{
    CHECK(!now->joint);
    if (raft_config_check(target) != ERR_OK || target->joint ||
        target->epoch < now->epoch || turns_into_another(now, target))
        return ERR_INVALID;
    if (same_voters(now, target)) {
        *entry_out = *target;
        return ERR_OK;
    }
    if (target->ack != now->ack || target->write_region != now->write_region)
        return ERR_INVALID;
    return make_joint(now, target, entry_out);
}

void raft_config_leave(const struct raft_config *joint,
                       struct raft_config *entry_out)
{
    CHECK(joint->joint);
    struct raft_config c = *joint;
    c.joint = false;
    c.n = 0;
    memset(c.members, 0, sizeof(c.members));
    for (uint32_t i = 0; i < joint->n; i++) {
        struct raft_member m = joint->members[i];
        if (m.leaving)
            continue;
        m.voter_old = false;
        c.members[c.n++] = m;
    }
    CHECK(raft_config_check(&c) == ERR_OK);
    *entry_out = c;
}

uint32_t raft_config_encoded_size(const struct raft_config *c)
{
    return CONFIG_HEAD_SIZE + CONFIG_MEMBER_SIZE * c->n;
}

int raft_config_encode(const struct raft_config *c, struct buf *out)
{
    CHECK(c->n <= RAFT_MEMBERS_MAX);
    uint8_t bytes[CONFIG_HEAD_SIZE + RAFT_MEMBERS_MAX * CONFIG_MEMBER_SIZE];
    uint8_t *p = bytes;
    *p++ = CONFIG_VERSION;
    put_u32_le(p, c->epoch);
    put_u16_le(p + 4, c->write_region);
    p[6] = c->ack;
    p[7] = c->joint;
    put_u32_le(p + 8, c->n);
    p += CONFIG_HEAD_SIZE - 1;
    for (uint32_t i = 0; i < c->n; i++, p += 8) {
        const struct raft_member *m = &c->members[i];
        put_u32_le(p, m->id);
        put_u16_le(p + 4, m->region);
        p[6] = m->priority;
        p[7] = (uint8_t)((m->voter ? FLAG_VOTER : 0) |
                         (m->voter_old ? FLAG_VOTER_OLD : 0) |
                         (m->leaving ? FLAG_LEAVING : 0) |
                         (m->witness ? FLAG_WITNESS : 0));
    }
    CHECK((size_t)(p - bytes) == raft_config_encoded_size(c));
    return buf_append(out, bytes, (size_t)(p - bytes));
}

static void decode_member(struct cursor *in, struct raft_member *m)
{
    m->id = cursor_u32_le(in);
    m->region = cursor_u16_le(in);
    m->priority = cursor_u8(in);
    uint8_t flags = cursor_u8(in);
    if ((flags & ~FLAGS) != 0)
        in->failed = true;
    m->voter = flags & FLAG_VOTER;
    m->voter_old = flags & FLAG_VOTER_OLD;
    m->leaving = flags & FLAG_LEAVING;
    m->witness = flags & FLAG_WITNESS;
}

int raft_config_decode(struct bytes data, struct raft_config *config_out)
{
    struct cursor in = cursor_of(data.data, data.len);
    struct raft_config c = {0};
    if (cursor_u8(&in) != CONFIG_VERSION)
        return ERR_MALFORMED;
    c.epoch = cursor_u32_le(&in);
    c.write_region = cursor_u16_le(&in);
    c.ack = cursor_u8(&in);
    uint8_t joint = cursor_u8(&in);
    c.n = cursor_u32_le(&in);
    if (!cursor_ok(&in) || joint > 1 || c.n > RAFT_MEMBERS_MAX)
        return ERR_MALFORMED;
    c.joint = joint;
    for (uint32_t i = 0; i < c.n; i++)
        decode_member(&in, &c.members[i]);
    if (!cursor_done(&in) || raft_config_check(&c) != ERR_OK)
        return ERR_MALFORMED;
    *config_out = c;
    return ERR_OK;
}
