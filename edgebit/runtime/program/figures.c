#include "figures.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"

void series_add(series *to, double value) {
  to->values = grown(to->values, (size_t)to->count + 1, sizeof *to->values);
  to->values[to->count++] = value;
}

static int compare(const void *a, const void *b) {
  double left = *(const double *)a, right = *(const double *)b;
  return (left > right) - (left < right);
}

double series_median(const series *of) {
  double *sorted = grown(NULL, (size_t)of->count, sizeof *sorted);
  memcpy(sorted, of->values, (size_t)of->count * sizeof *sorted);
  qsort(sorted, (size_t)of->count, sizeof *sorted, compare);
  double middle = (sorted[(of->count - 1) / 2] + sorted[of->count / 2]) / 2;
  free(sorted);
  return middle;
}

double series_mean(const series *of) {
  double sum = 0;
  for (int i = 0; i < of->count; i++) sum += of->values[i];
  return sum / of->count;
}

double series_std(const series *of) {
  double mean = series_mean(of), squares = 0;
  for (int i = 0; i < of->count; i++) squares += (of->values[i] - mean) * (of->values[i] - mean);
  return sqrt(squares / of->count);
}
