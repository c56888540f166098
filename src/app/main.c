/* src/app/main.c - the command line: finds the verb in verbs.def and runs it. */
int main(void)
{
    return 0;
}
