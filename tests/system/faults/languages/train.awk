#!/usr/bin/awk -f
BEGIN {
    for (epoch = 1; epoch <= 3; epoch++)
        printf "{\"epoch\": %d, \"score\": 0.%d}\n", epoch, epoch > ENVIRON["HPO_METRICS"]
    print "done with " ARGV[1]
}
