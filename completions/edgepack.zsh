
#compdef edgepack

_edgepack_completion() {
  eval $(env _TYPER_COMPLETE_ARGS="${words[1,$CURRENT]}" _EDGEPACK_COMPLETE=complete_zsh edgepack)
}

compdef _edgepack_completion edgepack

