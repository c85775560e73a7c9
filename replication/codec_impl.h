/* Shared by codec.c and codec_raft.c: the arena, and heads with attachments. */
#ifndef BASTIDE_REPLICATION_CODEC_IMPL_H
#define BASTIDE_REPLICATION_CODEC_IMPL_H

#include <protobuf-c/protobuf-c.h>

#include "replication/codec.h"

/* Room for `size` bytes until the next decode, aligned for anything. NULL when
 * the arena is at CODEC_ARENA_MAX. */
void *codec_alloc(struct codec *c, size_t size);

/* Appends a frame of `head` and `attachment_len` bytes, which the caller writes
 * to *attachment_out before it calls frame_end. */
int codec_begin(struct frame_writer *w, struct buf *out, enum frame_type type,
                const ProtobufCMessage *head, size_t attachment_len,
                uint8_t **attachment_out);
/* The whole, for an attachment in one piece. */
int codec_put(struct buf *out, enum frame_type type,
              const ProtobufCMessage *head, struct bytes attachment);

/* Takes a payload apart; the arena is emptied first. */
int codec_get(struct codec *c, struct bytes payload,
              const ProtobufCMessageDescriptor *type,
              const ProtobufCMessage **head_out, struct bytes *attachment_out);

#endif
