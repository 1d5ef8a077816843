"""The classes, photos and questions of the live view's tests."""

from finercam import Contrast

#: Names that would break a page that takes text for markup, or two classes for one.
NAMES = [
    "Agelaius phoeniceus (Red-winged Blackbird)",
    "Brewer's Blackbird",
    "<img src=x onerror=window.hacked=1>",
    '"quoted" & </script><script>window.hacked=1</script>',
    "two\nlines",
    "זמיר ירוק",
    "🐦 bird",
    "turned \u202edrib",
    "Same Name",
    "Same Name",
    "Great Heron",
    "Little Heron",
]

#: Ten questions: strengths, directions, other references, weightings and aggregates.
QUESTIONS = [
    (None, Contrast()),
    (None, Contrast(gamma=0, references=0)),
    (None, Contrast(gamma=1.35)),
    (None, Contrast(gamma=-1, against=[3, 5])),
    (4, Contrast(gamma=3, against=[0, 1, 2, 6, 7])),
    (2, Contrast(reverse=True)),
    (None, Contrast(weighting="softmax", gamma=0.8)),
    (None, Contrast(weighting="official")),
    (None, Contrast(aggregate="max", gamma=1)),
    (7, Contrast(aggregate="mean-after-relu", weighting="softmax", reverse=True, gamma=0.4)),
]

#: The photos of which a second method was kept.
TABULATED = range(3, 7)

#: A photo's picture in a page is at most this long, so that regions are in the photo's own pixels.
SIZES = [(160, 120), (96, 150), (130, 130), (200, 90)]
