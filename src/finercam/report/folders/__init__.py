"""The kinds of folders that a report is made of: one file each; see ``finercam.report.folder``."""
