/* model.h: the inside of an eb_model. */
#ifndef EB_MODEL_H
#define EB_MODEL_H

#include "edgebit.h"
#include "memory.h"
#include "plan.h"
#include "text.h"

struct eb_model {
  const eb_plan *plan;
  const eb_tier *tier;
  eb_mapping weights;
  long weights_file; /* the same, to read single rows from */
  eb_mapping tokenizer; /* of a model without text: nothing mapped */
  eb_text text;
};

#endif
