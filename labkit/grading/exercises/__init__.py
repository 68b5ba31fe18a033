"""One folder for each exercise; `labkit.grading.exercise` reads them."""
