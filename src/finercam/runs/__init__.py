"""Running a study over a manifest of photos, in parts that are never lost and never counted twice."""
