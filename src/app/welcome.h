/* src/app/welcome.h - the block a person reads after `vivace run`: where it listens, what to try. */
#ifndef VV_APP_WELCOME_H
#define VV_APP_WELCOME_H
#include "app/run.h"
#include <stdio.h>

void vv_welcome(const struct vv_run *run, const struct vv_settings *s, FILE *out);
#endif
