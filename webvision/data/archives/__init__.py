"""Pictures that stay inside tar files. tarstream reads an archive's headers, and believes nothing."""
