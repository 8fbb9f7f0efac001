#include "double.h"
void wfp_start(void) {}
void wfp_reset(void) {}
