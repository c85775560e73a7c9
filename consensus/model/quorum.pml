/* The regional quorum, model-checked: elections, acknowledgement and changes of
 * the write region (docs/quorum.md has the proof in words).
 *
 * What is modelled: voters with terms, votes and logs; candidates that collect
 * votes one at a time; leaders that append, commit and acknowledge; planned
 * changes (a CONFIG entry) and forced decisions (told to each voter separately,
 * or never). Terms are epoch and counter, as in raft.h. A message may be
 * delayed for ever, lost, repeated and overtaken: appends of a term are taken
 * from the log that its leader had (`sent`), by any follower that has not seen
 * a newer term, at any time; answers are what a follower once accepted in the
 * term (`took`), counted at any later time. A crash loses nothing that was
 * answered for and so is a pause, which every step may be.
 *
 * Time is in the model only with LEASE: a voter that hears a leader promises
 * not to vote (`promise`), and the leader counts it (`counts`). The one thing
 * assumed of clocks is that the leader stops counting before the promise ends.
 * Without LEASE nobody promises anything and leaders acknowledge without asking:
 * the quorums alone must do. That also covers every transfer of leadership,
 * which only sets promises aside.
 *
 * Properties (asserted where they could break):
 *   ACK     an entry acknowledged at region_lsn by the rule of epoch e is in the
 *           log of every leader of a later term, unless that leader goes by a
 *           rule of epoch f > e and a decision in (e, f] was forced
 *   COMMIT  an entry at commit_lsn is in the log of every leader of a later
 *           term, forced or not
 *   REGION  at most one region acknowledges by the rule of an epoch, and rules
 *           do not get older from term to term
 *   FENCE   once a leader was elected by a forced decision, no later leader goes
 *           by an older rule
 *   LATE    (LEASE) nothing is acknowledged in a term after the election of a
 *           leader of a later one
 *
 * Planted bugs, each of which must be found: NO_REGION_QUORUM (elects by a
 * majority alone), PAST_CONFIG (acknowledges beyond an uncommitted CONFIG),
 * PLAIN_TERMS (the epoch is no part of the term), LONG_LEASE (counts voters
 * whose promise is over), ONE_REPLICA (acknowledges one replica early).
 *
 * consensus/model/check.sh runs all of them. */

#ifndef VOTERS
#define VOTERS 3 /* one in each region; 5: three of them in region 0 */
#endif
#ifndef ENTRIES
#define ENTRIES 3 /* longest log */
#endif
#ifndef EPOCHS
#define EPOCHS 2 /* 0 .. EPOCHS: that many decisions */
#endif
#ifndef COUNTERS
#define COUNTERS 2 /* elections in each epoch */
#endif
#ifndef PLANNED
#define PLANNED 1 /* of the decisions, at most that many are planned */
#endif

#define TERMS ((EPOCHS + 1) * COUNTERS)
#define TERM(epoch, counter) ((epoch) * COUNTERS + (counter))
#ifdef PLAIN_TERMS
#define EPOCH_OF(term) 0
#else
#define EPOCH_OF(term) (((term) - 1) / COUNTERS)
#endif

#if VOTERS == 3
#define REGION_OF(n) (n)
#define EACH(X) X(0) X(1) X(2)
#define EACH_OTHER(X, n) X(n, 0) X(n, 1) X(n, 2)
#else
#define REGION_OF(n) ((n) < 3 -> 0 : (n) - 2)
#define EACH(X) X(0) X(1) X(2) X(3) X(4)
#define EACH_OTHER(X, n) X(n, 0) X(n, 1) X(n, 2) X(n, 3) X(n, 4)
#endif

/* An entry: its term, and 16 times the epoch if it is a CONFIG. 0: none. */
#define TERM_IN(entry) ((entry) & 15)
#define CONFIG_IN(entry) ((entry) >> 4)

/* -- voters; logs hold entry lsn at [n * ENTRIES + lsn - 1] -- */
#define AT(n, lsn) ((n) * ENTRIES + (lsn) - 1)
byte term[VOTERS];
byte vote[VOTERS];   /* 1 + whom it voted for in `term`; 0: nobody */
byte role[VOTERS];   /* 0 follower, 1 candidate, 2 leader */
byte size[VOTERS];
byte log[VOTERS * ENTRIES];
byte commit[VOTERS]; /* known to be committed */
byte told[VOTERS];   /* newest decision it was told */
byte votes[VOTERS];  /* of a candidate: a set */
byte rule[VOTERS];   /* of a candidate: epoch of the rule it goes by */

/* -- terms; the log of their leaders, and what followers took in them -- */
byte sent_size[TERMS + 1];
byte sent[(TERMS + 1) * ENTRIES];
byte took[(TERMS + 1) * VOTERS]; /* up to which LSN */
#define TOOK(t, n) took[(t) * VOTERS + (n)]

/* -- decisions: epoch e is that of region[e] -- */
byte decided; /* newest */
byte planned; /* how many were */
byte region[EPOCHS + 1];
bool forced[EPOCHS + 1];
#ifdef LEASE
byte promise[VOTERS];   /* the term of the leader that it promised */
byte counts[TERMS + 1]; /* a set */
#endif

/* -- for the properties; by LSN -- */
byte acked[ENTRIES + 1];       /* term of the entry */
byte acked_by[ENTRIES + 1];    /* in that term */
byte acked_epoch[ENTRIES + 1]; /* by the rule of that epoch */
byte committed[ENTRIES + 1];
byte committed_by[ENTRIES + 1];
#ifdef LEASE
byte elected; /* the highest term that has a leader */
#endif
byte ack_rule;    /* the newest rule that was acknowledged by */
byte ack_term;    /* and the first term of that */
byte forced_rule;    /* the newest forced rule that a leader was elected by */
byte forced_term;    /* and the first term of that */

/* What can matter no more is forgotten, so that it tells no states apart: the
 * log sent in a term that all have left; what one took in a term that it and
 * its leader have left. */
#if VOTERS == 3
#define LEFT_BY_ALL(t) (term[0] > (t) && term[1] > (t) && term[2] > (t))
#else
#define LEFT_BY_ALL(t)                                                         \
    (term[0] > (t) && term[1] > (t) && term[2] > (t) && term[3] > (t) &&       \
     term[4] > (t))
#endif
#define FORGET                                                                 \
    k = 1;                                                                     \
    do                                                                         \
    :: k < TERMS ->                                                            \
        e = 0;                                                                 \
        i = 0;                                                                 \
        do                                                                     \
        :: i < VOTERS ->                                                       \
            e = (role[i] == 2 && term[i] == k -> 1 : e);                       \
            i++                                                                \
        :: else -> break                                                       \
        od;                                                                    \
        i = 0;                                                                 \
        do                                                                     \
        :: i < VOTERS && e == 0 ->                                             \
            TOOK(k, i) = (term[i] > k -> 0 : TOOK(k, i));                      \
            i++                                                                \
        :: else -> break                                                       \
        od;                                                                    \
        if                                                                     \
        :: LEFT_BY_ALL(k) ->                                                   \
            sent_size[k] = 0;                                                  \
            i = 1;                                                             \
            do                                                                 \
            :: i <= ENTRIES -> sent[AT(k, i)] = 0; i++                         \
            :: else -> break                                                   \
            od                                                                 \
        :: else                                                                \
        fi;                                                                    \
        k++                                                                    \
    :: else -> break                                                           \
    od;                                                                        \
    TIDY

/* A property that does not hold: pan names the number. */
#define ACK_HOLDS 1
#define COMMIT_HOLDS 2
#define REGION_HOLDS 3
#define FENCE_HOLDS 4
#define LATE_HOLDS 5
#define SANE 6
byte broken;
#define HOLDS(property, condition)                                             \
    if                                                                         \
    :: condition                                                               \
    :: else -> broken = property; assert(broken != property)                   \
    fi

/* Scratch; set to 0 again, so that it tells no states apart. */
byte i, k, e, l, n_yes, n_all;

#define LAST_TERM(n) (size[n] == 0 -> 0 : TERM_IN(log[AT(n, size[n])]))
#define HAS(set, n) (((set) >> (n)) & 1)

/* e := epoch of the newest CONFIG at or below `lsn` in n's log. */
#define FIND_CONFIG(n, lsn)                                                    \
    e = 0;                                                                     \
    i = 1;                                                                     \
    do                                                                         \
    :: i <= (lsn) ->                                                           \
        if                                                                     \
        :: CONFIG_IN(log[AT(n, i)]) > e -> e = CONFIG_IN(log[AT(n, i)])        \
        :: else                                                                \
        fi;                                                                    \
        i++                                                                    \
    :: else -> break                                                           \
    od

/* e := epoch of the rule that n would campaign by. */
#define FIND_RULE(n)                                                           \
    FIND_CONFIG(n, size[n]);                                                    \
    if                                                                         \
    :: told[n] > e -> e = told[n]                                              \
    :: else                                                                    \
    fi

/* k := the greatest LSN that a majority of the voters of `r` (REGIONS: of all)
 * took in term t. */
#define REGIONS 3
#define IN(r, n) ((r) == REGIONS || REGION_OF(n) == (r))
#define FIND_MAJORITY(t, r)                                                    \
    k = ENTRIES;                                                               \
    do                                                                         \
    :: k > 0 ->                                                                \
        n_yes = 0;                                                             \
        n_all = 0;                                                             \
        i = 0;                                                                 \
        do                                                                     \
        :: i < VOTERS ->                                                       \
            n_all = n_all + (IN(r, i) -> 1 : 0);                               \
            n_yes = n_yes + (IN(r, i) && TOOK(t, i) >= k -> 1 : 0);            \
            i++                                                                \
        :: else -> break                                                       \
        od;                                                                    \
        if                                                                     \
        :: n_yes * 2 > n_all - EARLY -> break                                  \
        :: else -> k--                                                         \
        fi                                                                     \
    :: else -> break                                                           \
    od

#ifdef ONE_REPLICA
#define EARLY 2
#else
#define EARLY 0
#endif

#define TIDY                                                                   \
    i = 0;                                                                     \
    k = 0;                                                                     \
    e = 0;                                                                     \
    n_yes = 0;                                                                 \
    n_all = 0

#define FOLLOW(n, t)                                                           \
    if                                                                         \
    :: (t) > term[n] -> term[n] = (t); vote[n] = 0; votes[n] = 0; rule[n] = 0; \
        role[n] = 0                                                            \
    :: else                                                                    \
    fi

/* ---- elections ---- */

#ifdef LEASE
#define FREE(n) (promise[n] == 0)
#else
#define FREE(n) 1
#endif

/* k := the term that n would campaign in; 0: none. */
#define FIND_TERM(n)                                                           \
    FIND_CONFIG(n, commit[n]);                                                 \
    if                                                                         \
    :: told[n] > e -> e = told[n]                                              \
    :: else                                                                    \
    fi;                                                                        \
    if                                                                         \
    :: e > EPOCH_OF(term[n]) && PLAIN == 0 -> k = TERM(e, 1)                   \
    :: else ->                                                                 \
        if                                                                     \
        :: term[n] % COUNTERS != 0 || PLAIN -> k = term[n] + 1                 \
        :: else -> k = 0                                                       \
        fi                                                                     \
    fi

#ifdef PLAIN_TERMS
#define PLAIN (1)
#else
#define PLAIN (0)
#endif

#define CAMPAIGN(n)                                                            \
    :: d_step { role[n] != 2 && term[n] < TERMS && FREE(n) ->                  \
        FIND_TERM(n);                                                          \
        FIND_RULE(n);                                                          \
        if                                                                     \
        :: k > 0 && e >= EPOCH_OF(term[n]) ->                                  \
            term[n] = k;                                                       \
            vote[n] = n + 1;                                                   \
            votes[n] = 1 << n;                                                 \
            rule[n] = e;                                                       \
            role[n] = 1                                                        \
        :: else                                                                \
        fi;                                                                    \
        FORGET }

#define GRANT(c, n)                                                            \
    :: d_step { c != n && role[c] == 1 && !HAS(votes[c], n) &&                 \
        (term[n] < term[c] || (term[n] == term[c] && vote[n] == 0 &&           \
                               role[n] == 0)) &&                               \
        EPOCH_OF(term[c]) >= told[n] * (1 - PLAIN) && FREE(n) &&               \
        (LAST_TERM(c) > LAST_TERM(n) ||                                        \
         (LAST_TERM(c) == LAST_TERM(n) && size[c] >= size[n])) ->                \
        FOLLOW(n, term[c]);                                                    \
        vote[n] = c + 1;                                                       \
        votes[c] = votes[c] | (1 << n);                                        \
        FORGET }

#if VOTERS == 3
#define N_OF(set) (HAS(set, 0) + HAS(set, 1) + HAS(set, 2))
#define N_OF_REGION(set, r) HAS(set, r)
#define REGION_MAJORITY(r) 1
#else
#define N_OF(set)                                                              \
    (HAS(set, 0) + HAS(set, 1) + HAS(set, 2) + HAS(set, 3) + HAS(set, 4))
#define N_OF_REGION(set, r)                                                    \
    ((r) == 0 -> HAS(set, 0) + HAS(set, 1) + HAS(set, 2) : HAS(set, (r) + 2))
#define REGION_MAJORITY(r) ((r) == 0 -> 2 : 1)
#endif

#ifdef NO_REGION_QUORUM
#define REGION_WON(c) 1
#else
#define REGION_WON(c)                                                          \
    (N_OF_REGION(votes[c], region[rule[c]]) >=                                 \
     REGION_MAJORITY(region[rule[c]]))
#endif

/* k := the first forced epoch above `from`, up to `to`; 0: none. */
#define FIND_FORCED(from, to)                                                  \
    k = (from) + 1;                                                            \
    do                                                                         \
    :: k <= (to) && !forced[k] -> k++                                          \
    :: else -> break                                                           \
    od;                                                                        \
    if                                                                         \
    :: k > (to) -> k = 0                                                       \
    :: else                                                                    \
    fi

#define CHECK_LEADER(n)                                                        \
    i = 1;                                                                     \
    do                                                                         \
    :: i <= ENTRIES ->                                                         \
        if                                                                     \
        :: committed[i] != 0 && committed_by[i] < term[n] ->                   \
            HOLDS(COMMIT_HOLDS, (i <= size[n] &&                               \
                                 TERM_IN(log[AT(n, i)]) == committed[i]))      \
        :: else                                                                \
        fi;                                                                    \
        if                                                                     \
        :: acked[i] != 0 && acked_by[i] < term[n] ->                           \
            FIND_FORCED(acked_epoch[i], rule[n]);                              \
            HOLDS(ACK_HOLDS,                                                   \
                  (k != 0 || (i <= size[n] &&                                  \
                              TERM_IN(log[AT(n, i)]) == acked[i])))            \
        :: else                                                                \
        fi;                                                                    \
        i++                                                                    \
    :: else -> break                                                           \
    od;                                                                        \
    HOLDS(FENCE_HOLDS, (forced_rule <= rule[n] || term[n] < forced_term));     \
    if                                                                         \
    :: forced[rule[n]] && rule[n] > forced_rule ->                             \
        forced_rule = rule[n];                                                 \
        forced_term = term[n]                                                  \
    :: else                                                                    \
    fi;                                                                        \
    NOTE_ELECTED(n)

#ifdef LEASE
#define NOTE_ELECTED(n) elected = (term[n] > elected -> term[n] : elected)
#else
#define NOTE_ELECTED(n) skip
#endif

/* The leader's own log and what it sends in its term grow together. */
#define APPEND(n, entry)                                                       \
    size[n]++;                                                                  \
    log[AT(n, size[n])] = (entry);                                              \
    sent[AT(term[n], size[n])] = (entry);                                       \
    sent_size[term[n]] = size[n];                                                \
    TOOK(term[n], n) = size[n]

#define WIN(n)                                                                 \
    :: d_step { role[n] == 1 && size[n] < ENTRIES &&                            \
        N_OF(votes[n]) * 2 > VOTERS && REGION_WON(n) ->                        \
        CHECK_LEADER(n);                                                       \
        role[n] = 2;                                                           \
        votes[n] = 0;                                                          \
        i = 1;                                                                 \
        do                                                                     \
        :: i <= size[n] -> sent[AT(term[n], i)] = log[AT(n, i)]; i++            \
        :: else -> break                                                       \
        od;                                                                    \
        FIND_CONFIG(n, size[n]);                                                \
        if                                                                     \
        :: rule[n] > e -> APPEND(n, term[n] + 16 * rule[n])                    \
        :: else -> APPEND(n, term[n])                                          \
        fi;                                                                    \
        rule[n] = 0;                                                           \
        NOTE(n);                                                               \
        TIDY }

/* ---- leaders ---- */

#define PROPOSE(n)                                                             \
    :: d_step { role[n] == 2 && size[n] < ENTRIES ->                           \
        APPEND(n, term[n]);                                                    \
        NOTE(n);                                                               \
        TIDY }

/* One change at a time, and only by a leader that has committed in its term
 * (change_allowed). */
#define CHANGE(n)                                                              \
    :: d_step { role[n] == 2 && size[n] < ENTRIES && decided < EPOCHS &&        \
        planned < PLANNED && commit[n] > 0 &&                                  \
        TERM_IN(log[AT(n, commit[n])]) == term[n] ->                           \
        FIND_CONFIG(n, commit[n]);                                             \
        k = e;                                                                 \
        FIND_CONFIG(n, size[n]);                                                \
        if                                                                     \
        :: k == e && told[n] <= e ->                                           \
            decided++;                                                         \
            planned++;                                                         \
            region[decided] = (region[e] + 1) % REGIONS;                       \
            APPEND(n, term[n] + 16 * decided);                                 \
            NOTE(n)                                                            \
        :: else                                                                \
        fi;                                                                    \
        TIDY }

/* A leader that outlives a decision writes it down (raft_adopt_decision). */
#define ADOPT(n)                                                               \
    :: d_step { role[n] == 2 && size[n] < ENTRIES && commit[n] > 0 &&           \
        TERM_IN(log[AT(n, commit[n])]) == term[n] ->                           \
        FIND_CONFIG(n, commit[n]);                                             \
        k = e;                                                                 \
        FIND_CONFIG(n, size[n]);                                                \
        if                                                                     \
        :: k == e && told[n] > e ->                                            \
            APPEND(n, term[n] + 16 * told[n]);                                 \
            NOTE(n)                                                            \
        :: else                                                                \
        fi;                                                                    \
        TIDY }

#define LEASE_HOLDS(n) (N_OF(counts[term[n]] | (1 << n)) * 2 > VOTERS)

/* The leader finds out that a majority of all has an entry of its term. */
#define COMMIT(n)                                                              \
    :: d_step { role[n] == 2 && commit[n] < size[n] ->                         \
        FIND_MAJORITY(term[n], REGIONS);                                       \
        if                                                                     \
        :: k > commit[n] && TERM_IN(log[AT(n, k)]) == term[n] ->               \
            commit[n] = k;                                                     \
            NOTE(n)                                                            \
        :: else                                                                \
        fi;                                                                    \
        TIDY }

/* Entries that are at commit_lsn of the term, whether the leader knows yet or
 * not. */
#define NOTE_COMMITTED(n)                                                      \
    FIND_MAJORITY(term[n], REGIONS);                                           \
    if                                                                         \
    :: k > 0 && TERM_IN(log[AT(n, k)]) == term[n] ->                           \
        i = 1;                                                                 \
        do                                                                     \
        :: i <= k ->                                                           \
            HOLDS(COMMIT_HOLDS,                                                \
                  (committed[i] == 0 ||                                        \
                   committed[i] == TERM_IN(log[AT(n, i)])));                   \
            if                                                                 \
            :: committed[i] == 0 || committed_by[i] > term[n] ->               \
                committed[i] = TERM_IN(log[AT(n, i)]);                         \
                committed_by[i] = term[n]                                      \
            :: else                                                            \
            fi;                                                                \
            i++                                                                \
        :: else -> break                                                       \
        od                                                                     \
    :: else                                                                    \
    fi

#ifdef PAST_CONFIG
#define CAP(n) skip
#else
/* Not beyond a CONFIG that is not committed. */
#define CAP(n)                                                                 \
    i = commit[n] + 1;                                                         \
    do                                                                         \
    :: i <= k && CONFIG_IN(log[AT(n, i)]) == 0 -> i++                          \
    :: else -> break                                                           \
    od;                                                                        \
    k = i - 1
#endif

/* Entry i is acknowledged by the rule of epoch e. What an older rule had
 * acknowledged there was lost by force. */
#define NOTE_ACK(n)                                                            \
    n_yes = k;                                                                 \
    i = 1;                                                                     \
    do                                                                         \
    :: i <= n_yes ->                                                           \
        if                                                                     \
        :: acked[i] == TERM_IN(log[AT(n, i)]) ->                               \
            if                                                                 \
            :: e > acked_epoch[i] ->                                           \
                acked_epoch[i] = e;                                            \
                acked_by[i] = term[n]                                          \
            :: e == acked_epoch[i] && acked_by[i] > term[n] ->                 \
                acked_by[i] = term[n]                                          \
            :: else                                                            \
            fi                                                                 \
        :: acked[i] == 0 || (acked[i] != TERM_IN(log[AT(n, i)]) &&             \
                             acked_epoch[i] < e) ->                            \
            FIND_FORCED(acked_epoch[i], e);                                    \
            HOLDS(ACK_HOLDS, (acked[i] == 0 || k != 0));                       \
            acked[i] = TERM_IN(log[AT(n, i)]);                                 \
            acked_by[i] = term[n];                                             \
            acked_epoch[i] = e                                                 \
        :: else ->                                                             \
            FIND_FORCED(e, acked_epoch[i]);                                    \
            HOLDS(ACK_HOLDS, (k != 0))                                         \
        fi;                                                                    \
        i++                                                                    \
    :: else -> break                                                           \
    od

/* REGION: an epoch has one region, and its rule is not older than that of any
 * acknowledgement in an earlier term. */
#define CHECK_RULE(n)                                                          \
    HOLDS(REGION_HOLDS, (e >= ack_rule || term[n] < ack_term));                \
    if                                                                         \
    :: e > ack_rule -> ack_rule = e; ack_term = term[n]                        \
    :: else                                                                    \
    fi

/* region_lsn: a majority of the write region has it, by the committed rule. */
#define NOTE_ACKNOWLEDGED(n)                                                   \
    FIND_CONFIG(n, commit[n]);                                                 \
    FIND_MAJORITY(term[n], region[e]);                                         \
    if                                                                         \
    :: k > 0 -> CAP(n)                                                         \
    :: else                                                                    \
    fi;                                                                        \
    if                                                                         \
    :: k > 0 && TERM_IN(log[AT(n, k)]) == term[n] ->                           \
        CHECK_RULE(n);                                                         \
        NOTE_ACK(n)                                                            \
    :: else                                                                    \
    fi

/* Whatever may be acknowledged is, at once: that changes nothing but what is
 * promised, and who promises later promises less. */
#ifdef LEASE
#define NOTE(n) skip
#define ACKNOWLEDGE(n)                                                         \
    :: d_step { role[n] == 2 && LEASE_HOLDS(n) && elected > term[n] ->         \
        HOLDS(LATE_HOLDS, (false));                                            \
        TIDY }
#else
#define NOTE(n)                                                                \
    NOTE_COMMITTED(n);                                                         \
    NOTE_ACKNOWLEDGED(n)
#define ACKNOWLEDGE(n)
#endif

/* ---- followers ---- */

/* The next entry of term t's leader: appended, in place of what conflicts. */
#define TAKE(t, n)                                                             \
    :: d_step { sent_size[t] > 0 && term[n] <= (t) &&                           \
        !(role[n] == 2 && term[n] == (t)) && TAKES_MORE(t, n) ->               \
        FOLLOW(n, t);                                                          \
        role[n] = 0;                                                           \
        votes[n] = 0;                                                          \
        rule[n] = 0;                                                           \
        i = 1;                                                                 \
        do                                                                     \
        :: i <= size[n] && i <= sent_size[t] && log[AT(n, i)] == sent[AT(t, i)]  \
            -> i++                                                             \
        :: else -> break                                                       \
        od;                                                                    \
        if                                                                     \
        :: i <= sent_size[t] ->                                                 \
            HOLDS(SANE, (i > commit[n]));                                      \
            k = i + 1;                                                         \
            do                                                                 \
            :: k <= size[n] -> log[AT(n, k)] = 0; k++                           \
            :: else -> break                                                   \
            od;                                                                \
            size[n] = i;                                                        \
            log[AT(n, i)] = sent[AT(t, i)]                                     \
        :: else -> i = sent_size[t]                                             \
        fi;                                                                    \
        if                                                                     \
        :: i > TOOK(t, n) -> TOOK(t, n) = i                                    \
        :: else                                                                \
        fi;                                                                    \
        HEAR(t, n);                                                            \
        l = 0;                                                                 \
        do                                                                     \
        :: l < VOTERS && (role[l] != 2 || term[l] != (t)) -> l++               \
        :: else -> break                                                       \
        od;                                                                    \
        if                                                                     \
        :: l < VOTERS -> NOTE(l)                                               \
        :: else                                                                \
        fi;                                                                    \
        l = 0;                                                                 \
        FORGET }

#ifdef LEASE
#define TAKES_MORE(t, n) (TOOK(t, n) < sent_size[t] || promise[n] != (t))
#define HEAR(t, n)                                                             \
    promise[n] = (t);                                                          \
    counts[t] = counts[t] | (1 << (n))
/* Time passes: first the leader stops counting, then the promise ends. */
#define STOP_COUNTING(n)                                                       \
    :: d_step { promise[n] != 0 && HAS(counts[promise[n]], n) ->               \
        counts[promise[n]] = counts[promise[n]] & ~(1 << (n)) }
#ifdef LONG_LEASE
#define PROMISE_OVER(n) 1
#else
#define PROMISE_OVER(n) (!HAS(counts[promise[n]], n))
#endif
#define END_PROMISE(n)                                                         \
    :: d_step { promise[n] != 0 && PROMISE_OVER(n) -> promise[n] = 0 }
#else
#define TAKES_MORE(t, n) (TOOK(t, n) < sent_size[t])
#define HEAR(t, n) skip
#define STOP_COUNTING(n)
#define END_PROMISE(n)
#endif

/* A follower hears from the leader of its term that a CONFIG is committed; of
 * other entries it makes no difference. */
#define KNOWN_COMMITTED(n, lsn)                                                \
    (committed[lsn] == TERM_IN(log[AT(n, lsn)]) && committed_by[lsn] <= term[n])
#define HEAR_COMMIT(n)                                                         \
    :: d_step { role[n] != 2 && TOOK(term[n], n) > commit[n] &&                \
        KNOWN_COMMITTED(n, commit[n] + 1) ->                                   \
        k = commit[n] + 1;                                                     \
        do                                                                     \
        :: k <= TOOK(term[n], n) && KNOWN_COMMITTED(n, k) ->                   \
            commit[n] = (CONFIG_IN(log[AT(n, k)]) != 0 -> k : commit[n]);      \
            k++                                                                \
        :: else -> break                                                       \
        od;                                                                    \
        TIDY }

/* ---- decisions ---- */

/* Regions 1 and 2 are alike until one of them is chosen: choose 1. */
#define EACH_REGION(X) X(0) X(1) X(2)
#define DECIDE(r)                                                              \
    :: d_step { decided < EPOCHS && region[decided] != (r) &&                  \
        (decided > 0 || (r) == 1) ->                                           \
        decided++;                                                             \
        region[decided] = (r);                                                 \
        forced[decided] = true }
#define TELL(n)                                                                \
    :: d_step { told[n] < decided && forced[decided] -> told[n] = decided }

#define TAKE_ANY(n)                                                            \
    TAKE(1, n) TAKE(2, n) TAKE_3(n) TAKE_4(n) TAKE_5(n) TAKE_6(n)
#if EPOCHS * COUNTERS + COUNTERS >= 3
#define TAKE_3(n) TAKE(3, n)
#else
#define TAKE_3(n)
#endif
#if EPOCHS * COUNTERS + COUNTERS >= 4
#define TAKE_4(n) TAKE(4, n)
#else
#define TAKE_4(n)
#endif
#if EPOCHS * COUNTERS + COUNTERS >= 5
#define TAKE_5(n) TAKE(5, n)
#else
#define TAKE_5(n)
#endif
#if EPOCHS * COUNTERS + COUNTERS >= 6
#define TAKE_6(n) TAKE(6, n)
#else
#define TAKE_6(n)
#endif
#define GRANT_ANY(c) EACH_OTHER(GRANT, c)

/* The first leader is voter 0, whoever else it might be with other names; its
 * first entry is on its way. */
#define BEGIN(n)                                                               \
    term[n] = 1;                                                               \
    vote[n] = 1

active proctype world()
{
    d_step {
        BEGIN(0);
        BEGIN(1);
        BEGIN(2);
#if VOTERS == 5
        BEGIN(3);
        BEGIN(4);
#endif
        role[0] = 2;
        APPEND(0, 1)
    }
    do
    EACH(CAMPAIGN)
    EACH(GRANT_ANY)
    EACH(WIN)
    EACH(PROPOSE)
    EACH(CHANGE)
    EACH(ADOPT)
    EACH(COMMIT)
    EACH(ACKNOWLEDGE)
    EACH(TAKE_ANY)
    EACH(HEAR_COMMIT)
    EACH(STOP_COUNTING)
    EACH(END_PROMISE)
    EACH_REGION(DECIDE)
    EACH(TELL)
    :: else -> break
    od
}
