/* figures.h: one figure of every repetition, and what they come to. */
#ifndef RUN_FIGURES_H
#define RUN_FIGURES_H

typedef struct {
  double *values;
  int count;
} series;

void series_add(series *to, double value);
double series_median(const series *of);
double series_mean(const series *of);
double series_std(const series *of);

#endif
