"""What any program needs: atomic files, progress, stop requests, retries, timings, memory maps, native builds."""
