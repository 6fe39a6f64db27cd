/* talk.h: one answer, or a conversation on stdin and stdout. */
#ifndef RUN_TALK_H
#define RUN_TALK_H

#include "options.h"

/* Exit status. */
int talk(const char *bundle, const options *chosen);

#endif
