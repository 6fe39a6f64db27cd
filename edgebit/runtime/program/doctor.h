/* doctor.h: does this bundle work on this machine? */
#ifndef RUN_DOCTOR_H
#define RUN_DOCTOR_H

#include "options.h"

/* Prints what is right and what is wrong, the verdict last; the exit status is that of the verdict. */
int doctor(const char *bundle, const options *chosen);

#endif
