"""Pictures that stay inside tar files. tarstream reads an archive's headers, and believes nothing; walk says what lies
where in one; building makes of that the index of a folder's archives, members; store hands out pictures by it. folder
says where the archives are, remote (with clients) fetches those at addresses; shards is how WebDataset names things."""
