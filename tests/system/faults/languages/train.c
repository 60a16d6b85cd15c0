#include <stdio.h>
#include <stdlib.h>

int main(int count, char **words) {
    FILE *metrics = fopen(getenv("HPO_METRICS"), "a");
    for (int epoch = 1; epoch <= 3; epoch++) fprintf(metrics, "{\"epoch\": %d, \"score\": 0.%d}\n", epoch, epoch);
    fclose(metrics);
    printf("done with %s\n", words[count - 1]);
    return 0;
}
