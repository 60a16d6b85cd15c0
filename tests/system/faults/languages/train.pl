#!/usr/bin/perl
open(my $metrics, ">>", $ENV{HPO_METRICS}) or die;
print $metrics "{\"epoch\": $_, \"score\": 0.$_}\n" for 1 .. 3;
print "done with $ARGV[0]\n";
