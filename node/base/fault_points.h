/* Every fault point there is: X(name, what it stands for). */
#ifndef BASTIDE_BASE_FAULT_POINTS_H
#define BASTIDE_BASE_FAULT_POINTS_H

#define FAULT_POINTS(X)                                                        \
    X("log.replay.before", "at start, before a log is read")                   \
    X("log.append.before", "before a batch is written to the log")             \
    X("log.append.after", "after the write, before the sync")                  \
    X("log.sync.before", "before fdatasync of the log")                        \
    X("log.sync.after", "after fdatasync of the log")                          \
    X("log.segment.before", "before a new segment is made")                    \
    X("log.segment.after", "after a new segment is made")                      \
    X("log.delete.before", "before an old segment is deleted")                 \
    X("log.read", "before a segment of the log is read, at start")             \
    X("store.read", "before a record is read from the store")                  \
    X("store.flush.before", "before a flush begins")                           \
    X("store.flush.after", "after a flush was committed and synced")           \
    X("store.commit.before", "before mdb_txn_commit")                          \
    X("store.commit.after", "after mdb_txn_commit")                            \
    X("store.snapshot.write", "while a snapshot chunk is stored")              \
    X("store.snapshot.adopt.before", "before a received snapshot is adopted")  \
    X("store.snapshot.adopt.after",                                            \
      "after the log names it, before the rename")                             \
    X("store.record.lost", "a record of a flush: armed, it is left out")       \
    X("quarantine.marked",                                                     \
      "a damaged store is put away, before the log is told")                   \
    X("quarantine.left",                                                       \
      "a replica that left is put away, before it is closed and deleted")      \
    X("renewal.swapped", "a new store has taken the place of a damaged one")   \
    X("move.copy", "before documents of a moving container are copied")        \
    X("move.sealed", "its writes are held, before the last pass")              \
    X("move.gone", "everything is copied, before the record says so")          \
    X("move.switching", "the record says so, before the new group takes over") \
    X("move.emptying", "the new group has it, before the old one is emptied")  \
    X("move.cancelling", "before what was copied is deleted again")            \
    X("split.retire", "nothing is left, before a split's old shards go")       \
    X("loop.turn", "in every turn of every event loop")

#endif
