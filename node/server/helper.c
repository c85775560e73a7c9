#include "node/server/helper.h"

#include <signal.h>

#include "node/base/check.h"

static struct helper_job *helper_take(struct helper_thread *t)
{
    pthread_mutex_lock(&t->lock);
    while (list_empty(&t->jobs) && !t->stop)
        pthread_cond_wait(&t->more, &t->lock);
    struct list *node = list_pop_front(&t->jobs);
    pthread_mutex_unlock(&t->lock);
    return node != NULL ? LIST_ENTRY(node, struct helper_job, node) : NULL;
}

static void *helper_main(void *arg)
{
    struct helper_thread *t = arg;
    struct helper_job *job;
    while ((job = helper_take(t)) != NULL) {
        job->run(job);
        inbox_post_reserved(t->results, &job->message);
    }
    return NULL;
}

void helper_start(struct helper *h, struct inbox *results)
{
    /* Signals are the first thread's business. */
    sigset_t all, old;
    sigfillset(&all);
    CHECK(pthread_sigmask(SIG_SETMASK, &all, &old) == 0);
    for (int i = 0; i < HELPER_LANES; i++) {
        struct helper_thread *t = &h->lanes[i];
        t->results = results;
        t->stop = false;
        list_init(&t->jobs);
        CHECK(pthread_mutex_init(&t->lock, NULL) == 0);
        CHECK(pthread_cond_init(&t->more, NULL) == 0);
        CHECK(pthread_create(&t->thread, NULL, helper_main, t) == 0);
    }
    CHECK(pthread_sigmask(SIG_SETMASK, &old, NULL) == 0);
}

void helper_submit(struct helper *h, enum helper_lane lane,
                   struct helper_job *job)
{
    struct helper_thread *t = &h->lanes[lane];
    CHECK(job->run != NULL && job->message.deliver != NULL);
    pthread_mutex_lock(&t->lock);
    CHECK(!t->stop);
    list_push_back(&t->jobs, &job->node);
    pthread_cond_signal(&t->more);
    pthread_mutex_unlock(&t->lock);
}

void helper_stop(struct helper *h)
{
    for (int i = 0; i < HELPER_LANES; i++) {
        struct helper_thread *t = &h->lanes[i];
        pthread_mutex_lock(&t->lock);
        t->stop = true;
        pthread_cond_signal(&t->more);
        pthread_mutex_unlock(&t->lock);
        CHECK(pthread_join(t->thread, NULL) == 0);
        pthread_cond_destroy(&t->more);
        pthread_mutex_destroy(&t->lock);
    }
}
