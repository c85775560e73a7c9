/* Intrusive doubly linked list. The head is a node of its own; an element is
 * in at most one list per embedded node. Nothing is allocated. */
#ifndef BASTIDE_BASE_LIST_H
#define BASTIDE_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *prev;
    struct list *next;
};

#define LIST_ENTRY(node, type, member)                                         \
    ((type *)(void *)((char *)(node) - offsetof(type, member)))

#define LIST_EACH(it, head)                                                    \
    for (struct list *it = (head)->next; it != (head); it = it->next)

/* The current element may be removed while iterating. */
#define LIST_EACH_SAFE(it, head)                                               \
    for (struct list *it = (head)->next, *it##_next = it->next; it != (head);  \
         it = it##_next, it##_next = it->next)

static inline void list_init(struct list *head)
{
    head->prev = head->next = head;
}
static inline bool list_empty(const struct list *head)
{
    return head->next == head;
}
static inline void list_push_back(struct list *head, struct list *node)
{
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}
static inline void list_push_front(struct list *head, struct list *node)
{
    list_push_back(head->next, node);
}
/* Takes the node out and leaves it pointing at itself, so that removing twice
 * is harmless. */
static inline void list_remove(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}
static inline struct list *list_pop_front(struct list *head)
{
    if (list_empty(head))
        return NULL;
    struct list *node = head->next;
    list_remove(node);
    return node;
}
/* Moves all of `from` to the end of `to`. */
static inline void list_splice(struct list *to, struct list *from)
{
    if (list_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}

#endif
